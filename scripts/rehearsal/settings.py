"""What is compared: a selection policy, the actuators that are switched on, and who holds what."""

import dataclasses

# Mean share of the gate's mass that minmax keeps.  Copies of experts leave it little to give up, so
# it need not spend what the 0.5 % of perplexity would allow.
QUALITY = 0.98


@dataclasses.dataclass(frozen=True)
class Setting:
    name: str
    help: str
    policy: str = "topk"
    actuators: tuple = ()
    placement: str = "copies"  # cell.placement

    @property
    def actuators_text(self):
        return "+".join(self.actuators) or "none"


EVERY = ("tc", "order")
ALL = [
    Setting("vanilla", "plain top-2, no control: what the others are compared with"),
    Setting("selection", "selection only", policy="minmax"),
    Setting("tc", "tc only", actuators=("tc",)),
    Setting("uplink", "uplink pacing only", actuators=("uplink",)),
    Setting("order", "send order only", actuators=("order",)),
    Setting("joint", "selection, tc and send order", policy="minmax", actuators=EVERY),
    Setting("vanilla-single", "plain top-2, every expert on one agent only", placement="single"),
    Setting("joint-single", "the same, every expert on one agent only", policy="minmax", actuators=EVERY, placement="single"),
]
