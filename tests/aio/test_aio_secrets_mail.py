"""The dialogues of `test_secrets_mail`, held with the asyncio client; see `twins`."""

from twins import held_again

globals().update(held_again("test_secrets_mail"))
