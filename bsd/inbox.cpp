#include "bsd/inbox.h"

#include <algorithm>
#include <string>
#include <utility>

namespace wdmoe::bsd {

Result<void> Inbox::submit(Submission submission) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (closed_) return fail(Code::unavailable, "the base station is stopping");
  if (open_.size() >= capacity_)
    return fail(Code::busy, std::to_string(capacity_) + " requests are under way; try again later");
  if (!open_.insert(submission.request.id).second)
    return fail(Code::bad_input,
                "request id " + std::to_string(submission.request.id) + " is in use");
  requests_.push_back(std::move(submission));
  update_ready();
  return {};
}

void Inbox::cancel(RequestId id) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (open_.count(id) == 0) return;
  cancelled_.insert(id);
  update_ready();
}

void Inbox::close() {
  const std::lock_guard<std::mutex> lock(mutex_);
  closed_ = true;
  close_seen_ = false;  // wakes the engine once
  update_ready();
}

bool Inbox::closed() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return closed_;
}

bool Inbox::drained() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return closed_ && requests_.empty();
}

std::optional<Submission> Inbox::take_request() {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::optional<Submission> taken;
  if (!requests_.empty()) {
    taken = std::move(requests_.front());
    requests_.pop_front();
  }
  update_ready();
  return taken;
}

std::vector<RequestId> Inbox::take_cancelled() {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::vector<RequestId> taken;
  for (const RequestId id : cancelled_)
    if (std::none_of(requests_.begin(), requests_.end(),
                     [id](const Submission& waiting) { return waiting.request.id == id; }))
      taken.push_back(id);
  for (const RequestId id : taken) cancelled_.erase(id);
  close_seen_ = true;
  update_ready();
  return taken;
}

void Inbox::ended(RequestId id) {
  const std::lock_guard<std::mutex> lock(mutex_);
  open_.erase(id);
  cancelled_.erase(id);
}

void Inbox::update_ready() {
  if (!requests_.empty() || !cancelled_.empty() || !close_seen_)
    ready_.signal();
  else
    ready_.clear();
}

}  // namespace wdmoe::bsd
