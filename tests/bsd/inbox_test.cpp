#include "bsd/inbox.h"

#include <thread>

#include <doctest/doctest.h>
#include <poll.h>

using namespace wdmoe;
using namespace wdmoe::bsd;

namespace {

Submission submission(RequestId id) {
  Submission made;
  made.request.id = id;
  return made;
}

bool readable(int fd) {
  pollfd waited{fd, POLLIN, 0};
  return ::poll(&waited, 1, 0) == 1;
}

}  // namespace

TEST_CASE("inbox: refuses when full, twice the same id, and after closing") {
  Inbox inbox(2);
  CHECK_FALSE(readable(inbox.fd()));
  REQUIRE(inbox.submit(submission(1)));
  CHECK(readable(inbox.fd()));
  CHECK(inbox.submit(submission(1)).error().code == Code::bad_input);
  REQUIRE(inbox.submit(submission(2)));
  CHECK(inbox.submit(submission(3)).error().code == Code::busy);
  CHECK(inbox.take_request()->request.id == 1);
  CHECK(inbox.take_request()->request.id == 2);
  CHECK_FALSE(inbox.take_request());
  CHECK_FALSE(readable(inbox.fd()));
  CHECK(inbox.submit(submission(3)).error().code == Code::busy);  // both are still under way
  inbox.ended(1);
  REQUIRE(inbox.submit(submission(3)));
  inbox.close();
  inbox.ended(2);
  CHECK(inbox.submit(submission(4)).error().code == Code::unavailable);
  CHECK(inbox.take_request()->request.id == 3);
}

TEST_CASE("inbox: a cancellation of what is under way is never lost, any other is nothing") {
  Inbox inbox(1);
  inbox.cancel(7);
  CHECK_FALSE(readable(inbox.fd()));
  REQUIRE(inbox.submit(submission(7)));
  CHECK(inbox.take_request());
  for (int i = 0; i < 1000; ++i) inbox.cancel(7);  // does not pile up
  CHECK(readable(inbox.fd()));
  CHECK(inbox.take_cancelled() == std::vector<RequestId>{7});
  CHECK_FALSE(readable(inbox.fd()));
  inbox.ended(7);
  inbox.cancel(7);
  CHECK(inbox.take_cancelled().empty());
}

TEST_CASE("inbox: a request cancelled before it was taken keeps its cancellation") {
  Inbox inbox(2);
  REQUIRE(inbox.submit(submission(1)));
  REQUIRE(inbox.submit(submission(2)));
  CHECK(inbox.take_request()->request.id == 1);
  inbox.cancel(1);
  inbox.cancel(2);
  CHECK(inbox.take_cancelled() == std::vector<RequestId>{1});
  CHECK(readable(inbox.fd()));
  CHECK(inbox.take_request()->request.id == 2);
  CHECK(readable(inbox.fd()));
  CHECK(inbox.take_cancelled() == std::vector<RequestId>{2});
  CHECK_FALSE(readable(inbox.fd()));
}

TEST_CASE("inbox: is drained once it is closed and the last request was taken") {
  Inbox inbox(1);
  CHECK_FALSE(inbox.drained());
  REQUIRE(inbox.submit(submission(1)));
  inbox.close();
  CHECK_FALSE(inbox.drained());
  CHECK(inbox.take_request());
  CHECK(inbox.drained());
}

TEST_CASE("inbox: closing wakes the engine once") {
  Inbox inbox(1);
  inbox.close();
  CHECK(readable(inbox.fd()));
  CHECK(inbox.take_cancelled().empty());
  CHECK_FALSE(readable(inbox.fd()));
}

TEST_CASE("inbox: what many threads submit all arrives") {
  Inbox inbox(4000);
  std::vector<std::thread> threads;
  for (RequestId first = 0; first < 4; ++first) {
    threads.emplace_back([&inbox, first] {
      for (RequestId i = 0; i < 1000; ++i) {
        (void)inbox.submit(submission(first * 1000 + i));
        inbox.cancel(first * 1000 + i);
      }
    });
  }
  std::size_t taken = 0;
  while (taken < 4000) {
    pollfd waited{inbox.fd(), POLLIN, 0};
    ::poll(&waited, 1, 1000);
    while (inbox.take_request()) ++taken;
    (void)inbox.take_cancelled();
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(taken == 4000);
}
