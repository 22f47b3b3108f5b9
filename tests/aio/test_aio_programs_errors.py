"""The dialogues of `test_programs_errors`, held with the asyncio client; see `twins`."""

from twins import held_again

globals().update(held_again("test_programs_errors"))
