"""The dialogues of `test_protocol_log`, held with the asyncio client; see `twins`."""

from twins import held_again

globals().update(held_again("test_protocol_log"))
