// What is to happen in a simulation, in order of time. Not for programs.

#ifndef BRAID_BACKEND_SIM_EVENT_QUEUE_H_
#define BRAID_BACKEND_SIM_EVENT_QUEUE_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "braid/core/time.h"

namespace braid::detail {

class EventQueue {
 public:
  // Names an event that is to come; a default one names none.
  using Id = std::pair<Time, uint64_t>;
  // Background: nobody can be waiting for it, so that a simulation in which
  // nothing else is to come is idle.
  enum class Kind : uint8_t { kForeground, kBackground };

  Id Add(Time at, absl::AnyInvocable<void()> run,
         Kind kind = Kind::kForeground) {
    const Id id(at, ++last_);
    events_.emplace(id, Event{std::move(run), kind});
    if (kind == Kind::kForeground) ++foreground_;
    return id;
  }
  // Forgets it, if it is still to come.
  void Remove(Id& id) {
    if (const auto event = events_.find(id); event != events_.end())
      Take(event);
    id = Id();
  }
  // Runs the first event if it is not later than `now`; events of one time in
  // the order in which they were added. False: there is none.
  bool RunNext(Time now) {
    if (events_.empty() || events_.begin()->first.first > now) return false;
    absl::AnyInvocable<void()> run = Take(events_.begin());
    run();
    return true;
  }
  Time next() const {
    return events_.empty() ? kNever : events_.begin()->first.first;
  }
  bool idle() const { return foreground_ == 0; }
  // Destroys what is to come.
  void Clear() {
    while (!events_.empty()) Take(events_.begin());
  }

 private:
  struct Event {
    absl::AnyInvocable<void()> run;
    Kind kind;
  };

  absl::AnyInvocable<void()> Take(std::map<Id, Event>::iterator event) {
    auto node = events_.extract(event);
    if (node.mapped().kind == Kind::kForeground) --foreground_;
    return std::move(node.mapped().run);
  }

  std::map<Id, Event> events_;
  uint64_t last_ = 0;
  size_t foreground_ = 0;
};

}  // namespace braid::detail

#endif  // BRAID_BACKEND_SIM_EVENT_QUEUE_H_
