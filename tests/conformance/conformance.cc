#include "tests/conformance/conformance.h"

#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>

#include <chrono>
#include <optional>
#include <stdexcept>
#include <vector>

#include "braid/backend/every_backend.h"
#include "braid/backend/sim/sim_backend.h"
#include "braid/backend/sim/simulation.h"
#include "tests/conformance/expectation.h"

namespace braid::conformance {
namespace {

using std::chrono::milliseconds;

// What a run of a case has on the thread of its loop.
struct CaseRun {
  Backend* backend = nullptr;
  Duration tick{};
  Time start{};
  std::vector<Observation> seen;
  // The loop had its turn so late after a tick that events of different ticks
  // may have met.
  bool late = false;
};
thread_local CaseRun* current = nullptr;

CaseRun& Current() {
  detail::Check(current != nullptr,
                "no case of the conformance suite runs here");
  return *current;
}

// What a host does by itself takes no time, so that what is seen is at whole
// ticks.
const SimHostOptions kNoDelay = {
    .disk = {
        .latency = {}, .jitter = {}, .sync_latency = {}, .sync_jitter = {}}};

// Nothing may be left when the body has ended.
std::optional<std::string> Leftovers() {
  const LoopStats stats = detail::Loop::Current().stats();
  if (stats.tasks_alive == 1 && stats.timers == 0 && stats.ready == 0)
    return std::nullopt;
  return "left when the body had ended: " +
         std::to_string(stats.tasks_alive - 1) + " tasks, " +
         std::to_string(stats.timers) + " timers, " +
         std::to_string(stats.ready) + " ready tasks\n" +
         FormatTasks(LiveTasks());
}

// Notices on a real clock when the loop is late.
Task<void> NoticeLateness(CaseRun* run) {
  for (Time next = run->start + run->tick;; next += run->tick) {
    co_await SleepUntil(next);
    if (Now() - next > run->tick / 4) run->late = true;
  }
}

// Runs the body of a case on a real backend, where a hang has no other end.
Task<absl::Status> RunWatched(CaseRun* run, CaseBody* body) {
  co_return co_await WithBackground(
      NoticeLateness(run), FailAfter(std::chrono::minutes(1), body->Run()));
}

struct Ran {
  std::optional<std::string> mismatch;
  bool late = false;
};

class Case {
 public:
  Case(std::string_view expected, CaseBody& body)
      : expected_text_(expected), expected_(expected), body_(body) {}

  // On one backend, in several orders of ready tasks.
  void On(std::string_view backend) const {
    if (!detail::HasBackend(backend)) {
      testing::Test::RecordProperty("left_out", std::string(backend));
      return;
    }
    const bool exact = backend == "sim";
    const uint64_t seeds = exact ? 8 : 3;
    bool passed = true;  // one order that fails is enough to look at
    for (uint64_t seed = 0; seed < seeds && passed; ++seed) {
      SCOPED_TRACE(std::string(backend) + ", shuffle_seed " +
                   std::to_string(seed));
      for (Duration tick : {milliseconds(2), milliseconds(20),
                            milliseconds(200), milliseconds(1000)}) {
        const bool last = exact || tick == milliseconds(1000);
        const Verdict verdict = TryOnce(backend, seed, tick, exact, last);
        passed = verdict == Verdict::kPassed;
        if (verdict != Verdict::kTooLateToTell) break;
      }
    }
  }

 private:
  enum class Verdict { kPassed, kFailed, kTooLateToTell };

  Verdict TryOnce(std::string_view name, uint64_t seed, Duration tick,
                  bool exact, bool last) const {
    testing::TestPartResultArray failures;
    Ran ran;
    {
      const testing::ScopedFakeTestPartResultReporter caught(
          testing::ScopedFakeTestPartResultReporter::
              INTERCEPT_ONLY_CURRENT_THREAD,
          &failures);
      ran = RunOnce(name, seed, tick, exact);
    }
    const bool failed = ran.mismatch.has_value() || failures.size() > 0;
    if (failed && ran.late && !last) return Verdict::kTooLateToTell;
    if (ran.mismatch.has_value()) ADD_FAILURE() << *ran.mismatch;
    for (int i = 0; i < failures.size(); ++i) {
      const testing::TestPartResult& failure = failures.GetTestPartResult(i);
      ADD_FAILURE_AT(failure.file_name() == nullptr ? "?" : failure.file_name(),
                     failure.line_number())
          << failure.message();
    }
    return failed ? Verdict::kFailed : Verdict::kPassed;
  }

  Ran RunOnce(std::string_view name, uint64_t seed, Duration tick,
              bool exact) const {
    const size_t descriptors = OpenDescriptors();
    CaseRun run;
    run.tick = tick;
    std::optional<std::string> leftovers;
    absl::Status status;
    {
      absl::StatusOr<std::unique_ptr<Backend>> backend =
          exact ? MakeSimBackend({.seed = seed + 1}, kNoDelay)
                : MakeBackend(name);
      if (!backend.ok()) return {backend.status().ToString()};
      run.backend = backend->get();
      current = &run;
      LoopOptions options;
      if (seed != 0) options.shuffle_seed = seed;
      status = braid::Run(
          **backend,
          [&]() -> Task<absl::Status> {
            run.start = Now();
            // In a simulation, a deadlock ends by itself.
            absl::Status ended = exact ? co_await body_.Run()
                                       : co_await RunWatched(&run, &body_);
            leftovers = Leftovers();
            co_return ended;
          },
          options);
      current = nullptr;
    }
    std::optional<std::string> wrong =
        expected_.Mismatch(run.seen, tick, exact);
    if (!status.ok()) wrong = "the body ended with " + status.ToString();
    if (!wrong.has_value()) wrong = std::move(leftovers);
    if (!wrong.has_value() && OpenDescriptors() != descriptors)
      wrong = "descriptors are left open";
    if (wrong.has_value()) {
      *wrong += "\nexpected: " + expected_text_ +
                "\nseen:     " + Format(run.seen, tick) + "\nwith ticks of " +
                std::to_string(tick / milliseconds(1)) + " ms";
    }
    return {std::move(wrong), run.late && expected_.length() > 0};
  }

  const std::string expected_text_;
  const Expectation expected_;
  CaseBody& body_;
};

// A body that gives nothing or a status, alone or in a group.
template <typename F>
class FunctionBody final : public CaseBody {
 public:
  explicit FunctionBody(F body) : body_(body) {}
  Task<absl::Status> Run() override {
    if constexpr (std::is_invocable_v<F, TaskGroup&>) {
      co_return co_await WithTaskGroup(body_);
    } else if constexpr (std::is_same_v<F, VoidBody>) {
      co_await body_();
      co_return absl::OkStatus();
    } else {
      co_return co_await body_();
    }
  }

 private:
  F body_;
};

template <typename F>
void RunCase(std::string_view expected, F function) {
  FunctionBody<F> body(function);
  Conforms(expected, static_cast<CaseBody&>(body));
}

}  // namespace

void Saw(std::string_view what) {
  CaseRun& run = Current();
  detail::Check(what.find(", ") == std::string_view::npos,
                "an observation holds ', ', which separates observations");
  run.seen.push_back({std::string(what), run.backend->Now() - run.start});
}

Duration Ticks(int count) { return count * Current().tick; }

std::string_view BackendName() { return Current().backend->name(); }

void Conforms(std::string_view expected, CaseBody& body) {
  const Case test(expected, body);
  for (const char* backend : {"sim", "asio", "uring"}) test.On(backend);
}

void Conforms(std::string_view expected, Body body) { RunCase(expected, body); }
void Conforms(std::string_view expected, VoidBody body) {
  RunCase(expected, body);
}
void Conforms(std::string_view expected, GroupBody body) {
  RunCase(expected, body);
}
void Conforms(std::string_view expected, VoidGroupBody body) {
  RunCase(expected, body);
}

void ConformsOnSystems(std::string_view why, std::string_view expected,
                       Body body) {
  testing::Test::RecordProperty("not_in_simulation", std::string(why));
  FunctionBody<Body> holder(body);
  const Case test(expected, holder);
  for (const char* backend : {"asio", "uring"}) test.On(backend);
}

Task<void> SayIn(int ticks, std::string text) {
  co_await SleepFor(Ticks(ticks));
  Saw(text);
}

Task<int> GiveIn(int ticks, int value) {
  co_await SleepFor(Ticks(ticks));
  co_return value;
}

Task<absl::Status> FailIn(int ticks, std::string text) {
  co_await SleepFor(Ticks(ticks));
  co_return absl::AbortedError(text);
}

Task<absl::StatusOr<int>> GiveOrFailIn(int ticks, absl::StatusOr<int> result) {
  co_await SleepFor(Ticks(ticks));
  co_return result;
}

Task<void> ThrowIn(int ticks, std::string text) {
  co_await SleepFor(Ticks(ticks));
  throw std::runtime_error(text);
}

Task<void> WaitForever(std::string name) {
  const SaysAtItsEnd end(name + " stopped");
  co_await SleepForever();
  Saw(name + " went on");
}

Task<void> OthersWait() {
  const auto some_ready = [] {
    for (const TaskInfo& task : LiveTasks()) {
      if (task.state == TaskInfo::State::kReady) return true;
    }
    return false;
  };
  do {
    co_await Checkpoint();
  } while (some_ready());
}

std::string Text(const absl::Status& status) {
  return status.ok() ? "OK" : std::string(status.message());
}

std::string AllOfText(const absl::Status& status) {
  std::string text = Text(status);
  std::string behind;
  for (const absl::Status& other : SuppressedErrors(status))
    behind += (behind.empty() ? "" : "; ") + Text(other);
  return behind.empty() ? text : text + " (" + behind + ")";
}

}  // namespace braid::conformance
