"""The dialogues of `test_real_servers`, held with the asyncio client; see `twins`."""

from twins import held_again

globals().update(held_again("test_real_servers"))
