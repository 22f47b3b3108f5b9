"""The dialogues of `test_small_buffers`, held with the asyncio client; see `twins`."""

from smallbuffer import SmallBufferServer
from test_small_buffers import MESSAGES, check
from twins import Twin, held_again

globals().update(held_again("test_small_buffers"))


def test_commands_inside_two_loops_never_overrun_a_buffer_of_2048_octets() -> None:
    with SmallBufferServer(2048, MESSAGES) as server, Twin(server.host, server.port, timeout=20) as pop:
        pop.user("user")
        pop.pass_("secret")
        loops = [pop.retr_many(window=1000) for _ in range(2)]
        for number in range(1, MESSAGES + 1):
            assert {check(server, next(loop)) for loop in loops} == {number}
            pop._shortcmd("NOOP " + "x" * (number % 200))
        assert server.lost == 0
