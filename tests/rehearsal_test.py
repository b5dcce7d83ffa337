#!/usr/bin/env python3
"""What scripts/field-rehearsal computes from what it measured."""

import math
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "scripts"))

from rehearsal import cell, page, settings, trial  # noqa: E402


class Quantile(unittest.TestCase):
    def test_is_linear_between_values(self):
        self.assertEqual(page.quantile([3, 1, 2], 0.5), 2)
        self.assertAlmostEqual(page.quantile(range(101), 0.95), 95)
        self.assertAlmostEqual(page.quantile([0, 10], 0.25), 2.5)
        self.assertEqual(page.quantile([7], 0.95), 7)


class PredictionError(unittest.TestCase):
    def test_of_an_even_spread_is_its_quarter(self):
        # Ratios even over 0.8 to 1.2: half of them lie within 0.1 of 1.
        buckets = [(0.8, 0), (1.0, 50), (1.2, 100), (math.inf, 100)]
        self.assertAlmostEqual(page.prediction_error_median(buckets), 0.1, places=6)

    def test_of_one_side_only(self):
        # Even over 0.5 to 0.9: the median error is 0.3.
        buckets = [(0.5, 0), (0.9, 80), (1.1, 80), (math.inf, 80)]
        self.assertAlmostEqual(page.prediction_error_median(buckets), 0.3, places=6)

    def test_without_predictions_is_absent(self):
        self.assertIsNone(page.prediction_error_median([]))
        self.assertIsNone(page.prediction_error_median([(1.0, 0), (math.inf, 0)]))


class Change(unittest.TestCase):
    def test_is_the_mean_difference_as_a_ratio_of_perplexities(self):
        change = trial.change_of([110.0, 130.0], [100.0, 120.0], 100)
        self.assertAlmostEqual(change["value"], math.expm1(0.1))
        self.assertNotIn("low", change)  # two windows carry no interval

    def test_interval_holds_the_value_and_shrinks_to_it_without_spread(self):
        plain = [100.0 + 7 * window for window in range(8)]
        same = trial.change_of([loss + 1 for loss in plain], plain, 100)
        self.assertAlmostEqual(same["low"], math.expm1(0.01))
        self.assertAlmostEqual(same["high"], math.expm1(0.01))
        spread = trial.change_of([loss + window for window, loss in enumerate(plain)], plain, 100)
        self.assertLess(spread["low"], spread["value"])
        self.assertGreater(spread["high"], spread["value"])


class Placement(unittest.TestCase):
    def test_every_expert_has_as_many_holders_as_copies_say(self):
        agents = [f"a{index}" for index in range(8)]
        for copies in cell.PLACEMENTS.values():
            held = [one["experts"]["all_layers"] for one in cell.placement(agents, 8, copies)["agents"]]
            for expert in range(8):
                self.assertEqual(sum(expert in have for have in held), copies + 1)
                self.assertIn(expert, held[expert])


class Settings(unittest.TestCase):
    def test_names_differ_and_the_first_is_what_others_are_compared_with(self):
        names = [one.name for one in settings.ALL]
        self.assertEqual(len(names), len(set(names)))
        self.assertEqual((names[0], settings.ALL[0].policy, settings.ALL[0].actuators), ("vanilla", "topk", ()))


if __name__ == "__main__":
    unittest.main()
