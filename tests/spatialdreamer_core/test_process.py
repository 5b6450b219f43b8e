import os
import signal

import pytest

from spatialdreamer_core.process import Signals, Stopped

pytestmark = pytest.mark.skipif(os.name == "nt", reason="no signals to send to oneself")


def test_a_signal_interrupts_unless_it_is_postponed():
    with Signals(lambda: None, to_the_end=False) as signals:
        signals.begin_work()
        assert not signals.received
        with pytest.raises(Stopped):
            os.kill(os.getpid(), signal.SIGTERM)


def test_a_postponed_signal_is_noted_until_it_is_asked_for():
    with Signals(lambda: None, to_the_end=False) as signals:
        signals.begin_work()
        with signals.postponed():
            os.kill(os.getpid(), signal.SIGTERM)
            assert signals.received
        with pytest.raises(Stopped, match="interrupted by SIGTERM"):
            signals.check()
