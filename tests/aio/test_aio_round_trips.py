"""The dialogues of `test_round_trips`, held with the asyncio client; see `twins`."""

from twins import held_again

globals().update(held_again("test_round_trips"))
