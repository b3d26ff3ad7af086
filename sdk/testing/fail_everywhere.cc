#include "braid/testing/fail_everywhere.h"

#include <execinfo.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <cstring>
#include <exception>
#include <map>
#include <memory>
#include <new>
#include <optional>
#include <source_location>
#include <string>
#include <string_view>

#include "absl/debugging/symbolize.h"
#include "braid/backend/sim/faults.h"
#include "braid/backend/sim/sim_backend.h"
#include "braid/core/check.h"
#include "braid/core/detail/loop.h"
#include "braid/core/group_error.h"
#include "braid/core/task_tree.h"
#include "braid/testing/allocations.h"
#include "braid/testing/flag.h"

namespace braid::detail {
namespace {

enum class Kind : uint8_t { kNone, kAllocation, kCall, kDeadline };

constexpr std::array kKinds = {Kind::kAllocation, Kind::kCall, Kind::kDeadline};

std::string_view NameOf(Kind kind) {
  switch (kind) {
    case Kind::kNone:
      return "nothing";
    case Kind::kAllocation:
      return "allocation";
    case Kind::kCall:
      return "call";
    case Kind::kDeadline:
      return "deadline";
  }
  return "";
}

// One thing that is to fail: the number-th of a kind, from 1.
struct Place {
  Kind kind = Kind::kNone;
  uint64_t number = 0;

  std::string ToString() const {
    if (kind == Kind::kNone) return "nothing fails";
    const std::string name(NameOf(kind));
    const std::string n = std::to_string(number);
    return name + " " + n + " fails: --braid_fail=" + name + ":" + n +
           " or BRAID_FAIL=" + name + ":" + n + " runs that alone";
  }
};

// What is asked for by name.
std::optional<Place> PlaceToRun() {
  const std::optional<std::string> text = TestFlag("braid_fail", "BRAID_FAIL");
  if (!text.has_value()) return std::nullopt;
  Place place;
  bool understood = false;
  for (const Kind kind : kKinds) {
    const std::string prefix = std::string(NameOf(kind)) + ":";
    if (!text->starts_with(prefix)) continue;
    place.kind = kind;
    const char* end = text->data() + text->size();
    const auto [stop, error] =
        std::from_chars(text->data() + prefix.size(), end, place.number);
    understood = error == std::errc() && stop == end && place.number > 0;
  }
  Check(understood,
        "--braid_fail or BRAID_FAIL is allocation:N, call:N or deadline:N, and "
        "N is 1 or more");
  return place;
}

// Who calls, kept as numbers: to be read only if somebody wants to know.
class Callers {
 public:
  void Capture() {
    depth_ = ::backtrace(frames_.data(), static_cast<int>(frames_.size()));
  }
  // Calls `line` for each, innermost first, without what is the same for all.
  // Allocates nothing.
  template <typename F>
  void ForEach(F line) const {
    bool ours = true;
    for (int i = 0; i < depth_; ++i) {
      char name[256];
      void* before_return =
          static_cast<char*>(frames_[static_cast<size_t>(i)]) - 1;
      if (!absl::Symbolize(before_return, name, sizeof name)) continue;
      const std::string_view text = name;
      ours = ours && (text.find("::Callers::") != text.npos ||
                      text.find("::Faults::") != text.npos ||
                      text.find("::CountedAllocate") != text.npos ||
                      text.starts_with("operator new") ||
                      text.starts_with("braid::detail::FaultOf") ||
                      text.starts_with("braid::detail::SimBackend::"));
      if (text.starts_with("braid::detail::Loop::")) return;
      if (!ours) line(text);
    }
  }

 private:
  std::array<void*, 48> frames_;
  int depth_ = 0;
};

// One run: counts, and lets its place fail.
class Faults final : public SimFaults, public AllocationWatcher {
 public:
  // Turns that a run takes at most. One that is stopped by then is stopped.
  static constexpr uint64_t kMostTurns = 1'000'000;

  explicit Faults(const Place& place) : place_(place) {
    Check(sim_faults == nullptr,
          "FailEverywhere is called inside another, or on two threads");
    sim_faults = this;
    running = this;
    struct sigaction action = {};
    action.sa_handler = &OnAbort;
    action.sa_flags = static_cast<int>(SA_RESETHAND);
    ::sigaction(SIGABRT, &action, &before_);
    if (place.kind == Kind::kAllocation) WatchAllocations(this);
  }
  ~Faults() override { End(); }

  // The run is over.
  void End() {
    if (running == nullptr) return;
    WatchAllocations(nullptr);
    ::sigaction(SIGABRT, &before_, nullptr);
    running = nullptr;
    sim_faults = nullptr;
  }

  bool failed() const { return failed_; }
  bool endless() const { return endless_; }
  const std::optional<std::string>& deadlock() const { return deadlock_; }

  // What failed, and who met with it.
  std::string Describe() const {
    if (!failed_) return place_.ToString();
    std::string text = place_.ToString() + "\n" + what_;
    if (place_.kind == Kind::kAllocation)
      text += std::to_string(size_) + " bytes";
    callers_.ForEach([&](std::string_view caller) {
      text += "\n  by ";
      text += caller;
    });
    return text;
  }

  bool Fails(size_t size) noexcept override {
    const Loop* loop = Loop::CurrentOrNull();
    // Other threads have no loop. What is done between two tasks is for nobody
    // who could be told.
    if (loop == nullptr || loop->current() == nullptr || in_system_ > 0 ||
        ++seen_ != place_.number) {
      return false;
    }
    failed_ = true;
    size_ = size;
    callers_.Capture();
    return true;
  }

  bool Fails(const SimCall& call,
             absl::FunctionRef<std::string()> on) override {
    if (place_.kind != Kind::kCall || ++seen_ != place_.number) return false;
    failed_ = true;
    what_ =
        std::string(call.name) + ": " + on() + ": " + std::strerror(call.error);
    callers_.Capture();
    return true;
  }

  void TurnEnded(Loop& loop) override {
    if (++turns_ > kMostTurns && !loop.finished()) {
      endless_ = true;
      loop.CancelRoot("FailEverywhere: it goes on for ever");
    }
    if (place_.kind != Kind::kDeadline) return;
    uint64_t& from = next_deadline_[&loop];
    if (loop.stats().turns <= 1) from = 0;  // another one, in the same place
    while (Scope* scope = loop.FindDeadline(from)) {
      if (++seen_ != place_.number) continue;
      failed_ = true;
      what_ = "of " + WhereIs(loop, *scope->owner());
      scope->Cancel(CancelCause::Source::kDeadline);
      return;
    }
  }

  void Deadlocked(std::string_view tasks) override {
    deadlock_ = std::string(tasks);
  }
  void Enter() override { ++in_system_; }
  void Leave() override { --in_system_; }

 private:
  static std::string WhereIs(const Loop& loop, const TaskNode& task) {
    for (const TaskInfo& info : LiveTasks(loop)) {
      if (info.id != task.id) continue;
      for (const AwaitFrame& await : info.awaits) {
        if (!await.boundary.empty()) continue;
        return "task '" + info.name + "', which waits at " +
               await.location.file_name() + ":" +
               std::to_string(await.location.line());
      }
    }
    return "task '" + std::string(task.name.view()) + "'";
  }

  static void Print(std::string_view text) {
    while (!text.empty()) {
      const ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
      if (written <= 0) return;
      text.remove_prefix(static_cast<size_t>(written));
    }
  }
  static void OnAbort(int) {
    if (running == nullptr) return;
    Print("FailEverywhere: the program ends where ");
    Print(running->text_);
    Print("\n");
    if (!running->failed_) return;
    Print(running->what_);
    Print("\n");
    running->callers_.ForEach([](std::string_view caller) {
      Print("  by ");
      Print(caller);
      Print("\n");
    });
  }

  static constinit Faults* running;

  const Place place_;
  const std::string text_ = place_.ToString();
  struct sigaction before_ = {};
  uint64_t seen_ = 0;
  uint64_t turns_ = 0;
  int in_system_ = 0;
  bool failed_ = false;
  bool endless_ = false;
  std::string what_;
  size_t size_ = 0;
  Callers callers_;
  std::map<const Loop*, uint64_t> next_deadline_;  // only looked up
  std::optional<std::string> deadlock_;
};

constinit Faults* Faults::running = nullptr;

absl::Status StatusOf(const std::exception_ptr& exception) {
  try {
    std::rethrow_exception(exception);
  } catch (const std::bad_alloc& e) {
    return absl::ResourceExhaustedError(e.what());
  } catch (const GroupError& e) {
    for (const std::exception_ptr& one : e.exceptions()) {
      if (absl::IsResourceExhausted(StatusOf(one)))
        return absl::ResourceExhaustedError(e.what());
    }
    return absl::UnknownError(e.what());
  } catch (const std::exception& e) {
    return absl::UnknownError(e.what());
  } catch (...) {
    return absl::UnknownError("an exception that is not a std::exception");
  }
}

class Runner {
 public:
  Runner(const std::function<absl::Status()>& run,
         const std::function<void(const absl::Status&)>& after, bool leaks)
      : run_(run), after_(after), leaks_(leaks) {}

  // What runs leave behind where nothing fails, once all that is made once has
  // been made.
  void Warm() {
    Try({});
    if (testing::Test::HasFailure()) return;
    usual_growth_ = GrowthOf({});
  }

  // Whether something failed.
  bool RunPlace(const Place& place) {
    bool failed = false;
    const int64_t growth = GrowthOf(place, &failed);
    // What is made once for all runs isn't there a second time.
    if (!leaks_ || growth <= usual_growth_ || testing::Test::HasFailure() ||
        GrowthOf(place) <= usual_growth_) {
      return failed;
    }
    std::string what;
    Try(place, &what);
    ADD_FAILURE() << growth << " allocations are left behind by a run in which "
                  << what;
    return failed;
  }

 private:
  int64_t GrowthOf(const Place& place, bool* failed = nullptr) {
    const uint64_t before = AllocationsAlive();
    const bool has_failed = Try(place);
    if (failed != nullptr) *failed = has_failed;
    return static_cast<int64_t>(AllocationsAlive() - before);
  }

  bool Try(const Place& place, std::string* what = nullptr) {
    SCOPED_TRACE(place.ToString());
    Faults faults(place);
    absl::Status status;
    try {
      status = run_();
    } catch (...) {
      status = StatusOf(std::current_exception());
    }
    const bool failed = faults.failed();
    if (!failed) EXPECT_TRUE(status.ok()) << status;
    if (faults.deadlock().has_value()) {
      ADD_FAILURE() << "deadlock: every task waits for something that can't "
                       "happen any more\n"
                    << *faults.deadlock();
    }
    if (faults.endless())
      ADD_FAILURE() << "it goes on for ever, and was stopped";
    faults.End();
    if (what != nullptr) *what = faults.Describe();
    after_(status);
    if (failed && testing::Test::HasFailure())
      ADD_FAILURE() << faults.Describe();
    return failed;
  }

  const std::function<absl::Status()>& run_;
  const std::function<void(const absl::Status&)>& after_;
  const bool leaks_;
  int64_t usual_growth_ = 0;
};

bool Wanted(Kind kind, const FailOptions& options) {
  switch (kind) {
    case Kind::kNone:
      return false;
    case Kind::kAllocation:
      return options.allocations;
    case Kind::kCall:
      return options.calls;
    case Kind::kDeadline:
      return options.deadlines;
  }
  return false;
}

}  // namespace

absl::Status RunAlone(absl::FunctionRef<absl::Status(Backend&)> run) {
  std::unique_ptr<Backend> backend = MakeSimBackend();
  absl::Status status;
  try {
    status = run(*backend);
  } catch (...) {
    status = StatusOf(std::current_exception());
  }
  if (backend->descriptors() > 0) {
    ADD_FAILURE() << backend->descriptors()
                  << " sockets are still open when every task has ended";
    // They refer to it.
    [[maybe_unused]] const Backend* left = backend.release();
  }
  return status;
}

int FailInTurn(const std::function<absl::Status()>& run,
               const std::function<void(const absl::Status&)>& after,
               const FailOptions& options) {
  constexpr uint64_t kMost = 100'000;
  absl::InitializeSymbolizer(testing::internal::GetArgvs().front().c_str());
  Callers().Capture();  // what it loads once is there then
  Runner runner(run, after, options.leaks);
  if (const std::optional<Place> place = PlaceToRun(); place.has_value()) {
    if (Wanted(place->kind, options)) runner.RunPlace(*place);
    return 1;
  }
  runner.Warm();
  int things = 0;
  for (const Kind kind : kKinds) {
    if (!Wanted(kind, options)) continue;
    for (uint64_t number = 1;; ++number) {
      if (testing::Test::HasFailure()) return things;  // one is enough
      if (number > kMost) {
        ADD_FAILURE() << "more than " << kMost << " things of the kind "
                      << NameOf(kind)
                      << " can fail; give a body that ends sooner";
        return things;
      }
      if (!runner.RunPlace({kind, number})) break;
      ++things;
    }
  }
  return things;
}

}  // namespace braid::detail
