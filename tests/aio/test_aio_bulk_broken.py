"""The dialogues of `test_bulk_broken`, held with the asyncio client; see `twins`."""

from twins import held_again

globals().update(held_again("test_bulk_broken"))
