#include "bsd/fleet/send_order.h"

#include <algorithm>
#include <numeric>
#include <random>

#include <doctest/doctest.h>

using namespace wdmoe;
using namespace wdmoe::bsd;

namespace {

Parcels random_parcels(std::mt19937& random, std::size_t devices, std::uint32_t most_rows) {
  Parcels parcels;
  parcels.of_device.resize(devices);
  for (std::size_t device = 0; device < devices; ++device) {
    const auto rows = random() % (most_rows + 1);
    parcels.of_device[device].rows.resize(rows);
    if (rows > 0) parcels.active.push_back(static_cast<std::uint16_t>(device));
  }
  return parcels;
}

std::vector<Tail> random_tails(std::mt19937& random, std::size_t devices) {
  std::uniform_real_distribution<double> seconds(0, 1);
  std::vector<Tail> tails(devices);
  for (Tail& tail : tails) tail = {seconds(random), seconds(random) / 10};
  return tails;
}

/// When the last answer is back if whole parcels pass a medium one after another, a row in 0.05 s.
double makespan(Span<const Piece> pieces, Span<const Tail> tails,
                const std::vector<std::uint32_t>& order) {
  double now = 0, last = 0;
  for (const std::uint32_t index : order) {
    const Piece& piece = pieces[index];
    now += 0.05 * piece.rows;
    last = std::max(last,
                    now + tails[piece.device].fixed_s + tails[piece.device].per_row_s * piece.rows);
  }
  return last;
}

}  // namespace

TEST_CASE("send order: every row is in one piece, and no piece is too large") {
  std::mt19937 random(7);
  std::vector<Piece> pieces;
  for (int round = 0; round < 300; ++round) {
    CAPTURE(round);
    const Parcels parcels = random_parcels(random, 1 + random() % 6, 90);
    const std::size_t most = 1 + random() % 40;
    cut_parcels(parcels, most, pieces);
    std::size_t at = 0;
    for (const std::uint16_t device : parcels.active) {
      std::uint32_t next = 0, least = 1000, largest = 0;
      for (; at < pieces.size() && pieces[at].device == device; ++at) {
        CHECK(pieces[at].first == next);
        CHECK(pieces[at].rows <= most);
        next += pieces[at].rows;
        least = std::min(least, pieces[at].rows);
        largest = std::max(largest, pieces[at].rows);
      }
      CHECK(next == parcels.of_device[device].rows.size());
      CHECK(largest - least <= 1);
    }
    CHECK(at == pieces.size());
  }
}

TEST_CASE("send order: whole parcels are back as early as in the best of all orders") {
  std::mt19937 random(8);
  std::vector<Piece> pieces;
  std::vector<std::uint32_t> order;
  for (int round = 0; round < 100; ++round) {
    CAPTURE(round);
    const Parcels parcels = random_parcels(random, 6, 30);
    const auto tails = random_tails(random, 6);
    cut_parcels(parcels, 1000, pieces);
    order_pieces(pieces, tails, order);
    std::vector<std::uint32_t> any(pieces.size());
    std::iota(any.begin(), any.end(), 0u);
    REQUIRE(std::is_permutation(any.begin(), any.end(), order.begin(), order.end()));
    double best = 1e9;
    do {
      best = std::min(best, makespan(pieces, tails, any));
    } while (std::next_permutation(any.begin(), any.end()));
    CHECK(makespan(pieces, tails, order) <= best + 1e-9);
  }
}

TEST_CASE(
    "send order: a device's pieces keep their order, the longest of what is left goes first") {
  std::mt19937 random(9);
  std::vector<Piece> pieces;
  std::vector<std::uint32_t> order;
  for (int round = 0; round < 200; ++round) {
    CAPTURE(round);
    const Parcels parcels = random_parcels(random, 5, 60);
    const auto tails = random_tails(random, 5);
    cut_parcels(parcels, 1 + random() % 20, pieces);
    order_pieces(pieces, tails, order);
    std::vector<std::uint32_t> next(5, 0);
    double before = 1e9;
    for (const std::uint32_t index : order) {
      const Piece& piece = pieces[index];
      CHECK(piece.first == next[piece.device]);
      next[piece.device] += piece.rows;
      const double left =
          static_cast<double>(parcels.of_device[piece.device].rows.size() - piece.first);
      const double tail = tails[piece.device].fixed_s + tails[piece.device].per_row_s * left;
      CHECK(tail <= before + 1e-12);
      before = tail;
    }
  }
}

TEST_CASE("send order: with nothing known the largest parcel goes first, equal ones by device") {
  Parcels parcels;
  parcels.of_device.resize(4);
  parcels.active = {0, 1, 3};
  parcels.of_device[0].rows.resize(2);
  parcels.of_device[1].rows.resize(9);
  parcels.of_device[3].rows.resize(2);
  std::vector<Piece> pieces;
  std::vector<std::uint32_t> order;
  cut_parcels(parcels, 100, pieces);
  order_pieces(pieces, std::vector<Tail>(4), order);
  CHECK(order == std::vector<std::uint32_t>{1, 0, 2});
}

TEST_CASE("send order: pieces have a size in bytes, but some rows at least") {
  CHECK(most_piece_rows(384) == 42);
  CHECK(most_piece_rows(8192) == kLeastPieceRows);
  CHECK(most_piece_rows(65'536) == kLeastPieceRows);
}

TEST_CASE("send order: the window is what link and kernels can hold") {
  radio::LinkState link;
  CHECK(window_bytes(link, 10, 400) > 1e12);  // nothing known: kMostPieces bound it
  link.known = true;
  link.down.measured = true;
  link.down.rate_bps = 8e6;
  link.base_rtt_s = 0.01;
  CHECK(window_bytes(link, 10, 400) == doctest::Approx(2 * 4000 + 10'000));
  link.compute.per_row_s = 0.001;
  CHECK(window_bytes(link, 10, 400) == doctest::Approx(2 * 4000 + 20'000));
}

TEST_CASE("send order: a tail is the agent's queue, its compute and the way back") {
  radio::LinkState link;
  CHECK(tail_of(link, 100).per_row_s == 1);  // unknown: first
  link.known = true;
  link.agent_queue_s = 0.001;
  link.compute = {0.002, 0.003};
  link.base_rtt_s = 0.02;
  link.link.per_row_s = 0.004;
  CHECK(tail_of(link, 100).fixed_s == doctest::Approx(0.013));
  CHECK(tail_of(link, 100).per_row_s == doctest::Approx(0.005));
  link.up.rate_bps = 8e5;  // 100 bytes in 1 ms
  CHECK(tail_of(link, 100).per_row_s == doctest::Approx(0.004));
}
