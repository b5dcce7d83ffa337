#include "bsd/moe/wlr.h"

#include <cmath>

#include <doctest/doctest.h>

#include "bsd/moe/catalogue.h"
#include "tests/bsd/moe/random_cell.h"

using namespace wdmoe;
using namespace wdmoe::bsd;

namespace {

using Weights = std::vector<std::vector<double>>;  // w[j][k]

/// w[j,k] of a selection, devices as columns.
Weights weights_of(const Selection& selection, std::size_t rows, std::size_t devices) {
  Weights w(rows, std::vector<double>(devices));
  for (const Choice& c : selection) w[c.row][c.device] += static_cast<double>(c.weight);
  return w;
}

double cosine(const std::vector<double>& a, const std::vector<double>& b) {
  double ab = 0, aa = 0, bb = 0;
  for (std::size_t k = 0; k < a.size(); ++k) {
    ab += a[k] * b[k];
    aa += a[k] * a[k];
    bb += b[k] * b[k];
  }
  return ab / std::sqrt(aa * bb);
}

/// The rows' weights after selection with `theta`, as the equations say it.
Weights thinned(const Weights& w, const std::vector<double>& t, double theta) {
  Weights out = w;
  for (std::size_t j = 0; j < w.size(); ++j) {
    std::size_t devices = 0, lowest = 0;
    for (std::size_t k = 0; k < t.size(); ++k) {
      if (w[j][k] <= 0) continue;
      if (devices++ == 0 || w[j][k] < w[j][lowest]) lowest = k;
    }
    if (devices < 2 || cosine(w[j], t) > theta) continue;
    const double rest = 1 - w[j][lowest];
    out[j][lowest] = 0;
    for (double& v : out[j]) v /= rest;
  }
  return out;
}

double weight_to_latency_ratio(const Weights& w, const std::vector<double>& t) {
  double sum = 0;
  for (const auto& row : w) {
    for (std::size_t k = 0; k < t.size(); ++k) sum += row[k] / t[k];
  }
  return sum;
}

/// The whole method, from the equations, without any shortcut.
Weights twin(const Weights& w, const std::vector<double>& t, double& theta) {
  theta = 0.5;
  Weights best = thinned(w, t, theta);
  for (int step = 1; theta < 0.9 - 1e-9; ++step) {
    const double next = (5 + step) / 10.0;
    const Weights trial = thinned(w, t, next);
    if (weight_to_latency_ratio(trial, t) <= weight_to_latency_ratio(best, t) * (1 + 1e-12)) break;
    best = trial;
    theta = next;
  }
  return best;
}

}  // namespace

TEST_CASE("wlr: agrees with the equations evaluated step by step") {
  std::mt19937 random(11);
  int by_theta[10] = {};
  for (int repetition = 0; repetition < 5000; ++repetition) {
    CellShape shape = random_shape(16, 8, 8, random);
    shape.orphans = shape.replicas = shape.per_choice = shape.airtime = false;
    const RandomCell cell(shape, random);
    const SelectionInput input = cell.input();
    Selection plain, chosen;
    make_top_k_policy()->select(input, plain);
    const auto policy = make_policy("wlr").value();
    policy->select(input, chosen);

    std::vector<double> t = cell.per_row;
    for (std::size_t k = 0; k < cell.fixed.size(); ++k) t[k] += cell.fixed[k];
    double theta = 0;
    const Weights expected = twin(weights_of(plain, shape.rows, shape.devices), t, theta);
    ++by_theta[static_cast<int>(theta * 10 + 0.5)];
    const Weights found = weights_of(chosen, shape.rows, shape.devices);
    CAPTURE(repetition);
    CAPTURE(theta);
    for (std::size_t j = 0; j < shape.rows; ++j) {
      for (std::size_t k = 0; k < shape.devices; ++k) {
        CHECK(found[j][k] == doctest::Approx(expected[j][k]).epsilon(1e-5));
      }
    }
  }
  // The cases reach every way the search for theta can end.
  for (int tenth = 5; tenth <= 9; ++tenth) CHECK(by_theta[tenth] > 0);
}

TEST_CASE("wlr: a row whose weight sits on fast devices gives up its lowest, others stay") {
  // Device 1 is ten times slower.  Row 0 leans on the fast one (cosine 0.31), row 1 on the slow.
  const std::vector<float> p{0.8f, 0.2f, 0.1f, 0.9f};
  const Holders holders{{0}, {1}};
  const std::vector<double> per_row{1e-3, 1e-2};
  SelectionInput input;
  input.probabilities = {p.data(), 2, 2};
  input.holders = &holders;
  input.latencies.per_row_s = {per_row.data(), 2};
  Selection selection;
  make_policy("wlr").value()->select(input, selection);
  REQUIRE(selection.size() == 3);
  CHECK(selection[0].expert == 0);
  CHECK(selection[0].weight == 1.0f);
  CHECK(selection[1].row == 1);
}

TEST_CASE("wlr: a given threshold is used as it is, without a search") {
  std::mt19937 random(12);
  for (int repetition = 0; repetition < 500; ++repetition) {
    CellShape shape = random_shape(16, 8, 8, random);
    shape.orphans = shape.replicas = shape.per_choice = shape.airtime = false;
    const RandomCell cell(shape, random);
    const SelectionInput input = cell.input();
    std::vector<double> t = cell.per_row;
    for (std::size_t k = 0; k < cell.fixed.size(); ++k) t[k] += cell.fixed[k];
    Selection plain, chosen;
    make_top_k_policy()->select(input, plain);
    for (const double theta : {0.0, 0.35, 0.62, 1.0}) {
      PolicyOptions options;
      options.theta = theta;
      make_policy("wlr", options).value()->select(input, chosen);
      const Weights expected = thinned(weights_of(plain, shape.rows, shape.devices), t, theta);
      const Weights found = weights_of(chosen, shape.rows, shape.devices);
      CAPTURE(repetition);
      CAPTURE(theta);
      for (std::size_t j = 0; j < shape.rows; ++j)
        for (std::size_t k = 0; k < shape.devices; ++k)
          CHECK(found[j][k] == doctest::Approx(expected[j][k]).epsilon(1e-5));
    }
  }
}

TEST_CASE("wlr: without latencies it is plain top-k") {
  const std::vector<float> p{0.8f, 0.2f};
  const Holders holders{{0}, {1}};
  SelectionInput input;
  input.probabilities = {p.data(), 1, 2};
  input.holders = &holders;
  Selection selection;
  make_policy("wlr").value()->select(input, selection);
  CHECK(selection.size() == 2);
}
