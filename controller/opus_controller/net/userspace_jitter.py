"""netem's delay distributions, for both kinds of links; they live in `model.jitter`, since the simulator draws from them too."""

from __future__ import annotations

from opus_controller.model.jitter import BITS, SCALE, SCALE_BITS, SIZE, table

__all__ = ["BITS", "SCALE", "SCALE_BITS", "SIZE", "table"]
