"""The dialogues of `test_alone_in_flight`, held with the asyncio client; see `twins`."""

from twins import held_again

globals().update(held_again("test_alone_in_flight"))
