"""The dialogues of `test_small_buffers`, held with the asyncio client; see `twins`."""

from twins import held_again

globals().update(held_again("test_small_buffers"))
