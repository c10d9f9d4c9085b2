"""Each basket is a command that the service would take, and only its number differs."""

import random
from itertools import islice

from shared.contracts.purchases import RecordPurchase
from tools.load.baskets import Baskets, _generated
from tools.load.scenario import all_scenarios


def test_made_up_baskets_are_valid_commands_with_their_own_numbers() -> None:
    baskets = Baskets(list(_generated(random.Random(1))), "made up")
    shots = list(islice(baskets.records("Lx-"), 700))
    commands = [RecordPurchase.model_validate_json(shot.body) for shot in shots]
    assert [command.client_order_id for command in commands] == [f"Lx-{number}" for number in range(700)]
    assert len({shot.message_id for shot in shots}) == 700
    for shot, command in zip(shots, commands, strict=True):
        assert command.payment is not None
        assert shot.amount == command.payment.amount.amount
        assert shot.amount == sum(item.unit_price.amount * item.quantity for item in command.items)
    assert 5 < baskets.mean_lines < 50


def test_every_scenario_says_what_it_is() -> None:
    found = all_scenarios()
    assert set(found) >= {"record", "refund", "search", "viewer", "mails", "mixed"}
    assert all(scenario.summary and scenario.rate > 0 and name == scenario.name for name, scenario in found.items())
