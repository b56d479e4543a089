"""Python imports this at its start if this folder is on its path: then the wall clock jumps by days, back and forth."""

import datetime
import time

_DAY, _STEADY_SECONDS = 86_400.0, 0.25

_true_time = time.time


def _jumping_time() -> float:
    forth = int(time.monotonic() / _STEADY_SECONDS) % 2
    return _true_time() + (_DAY if forth else -_DAY)


class _JumpingDatetime(datetime.datetime):
    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:
        return cls.fromtimestamp(_jumping_time(), tz)

    @classmethod
    def utcnow(cls) -> datetime.datetime:
        return cls.now(datetime.UTC).replace(tzinfo=None)

    @classmethod
    def today(cls) -> datetime.datetime:
        return cls.now()


time.time = _jumping_time
datetime.datetime = _JumpingDatetime  # type: ignore[misc]
