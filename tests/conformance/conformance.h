// The frame of the conformance suite: a property of the SDK, stated once, holds
// on every backend.
//
//   TEST(Mutex, GoesToTheNextInLine) {
//     Conforms("first@1, second@2", [](TaskGroup& group) -> Task<void> {
//       Mutex mutex;
//       group.Start("first", HoldFor, &mutex, 1, "first");
//       group.Start("second", HoldFor, &mutex, 1, "second");
//       co_await group.Join();
//     });
//   }
//
// A case is what a program observes: the body calls Saw(), and Conforms
// compares with what must be seen, on asio, uring (where the kernel permits it)
// and sim, with ready tasks in order and shuffled. As the statement is one,
// backends that differ can't both pass.
//
// Observations are separated by ", ". `@3` is a time in ticks; an observation
// without one is at the time of the one before it, at first 0. In virtual time
// that is exact. On a real clock it is a lower bound: nothing may come too
// early, and the order must be the same. `[a, b]` is for what the rules leave
// open: both, in any order.
//
// A busy machine delays the real clock, and ticks of different tasks then
// overtake each other. So ticks are short at first, and a run that differs
// *and* was late proves nothing: it is repeated with longer ticks. A run that
// differs and was in time fails at once, as does any in virtual time, and one
// of a case in which time plays no part.
//
// After each run, no task, no timer and no descriptor may be left. The body
// gives nothing or an absl::Status, which must be OK. EXPECT_... may be used in
// it. It captures nothing: it runs many times.
//
// Not for: the insides of the SDK, whose tests stand beside their sources.

#ifndef TESTS_CONFORMANCE_CONFORMANCE_H_
#define TESTS_CONFORMANCE_CONFORMANCE_H_

#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "braid/backend/backend.h"
#include "braid/core/core.h"

namespace braid::conformance {

// Notes that the running case observed `what`. From tasks and destructors, on
// the thread of the loop.
void Saw(std::string_view what);

// The unit of time of the running case.
Duration Ticks(int count);

// The name of the backend that runs.
std::string_view BackendName();

// The body of a case; function pointers, so that a case costs little to
// compile.
using Body = Task<absl::Status> (*)();
using VoidBody = Task<void> (*)();
using GroupBody = Task<absl::Status> (*)(TaskGroup&);
using VoidGroupBody = Task<void> (*)(TaskGroup&);

// Runs the case on every backend; one with a parameter, in a task group whose
// result must be OK.
void Conforms(std::string_view expected, Body body);
void Conforms(std::string_view expected, VoidBody body);
void Conforms(std::string_view expected, GroupBody body);
void Conforms(std::string_view expected, VoidGroupBody body);

// On the backends of the operating system only; `why` says what it takes that a
// simulation can't have.
void ConformsOnSystems(std::string_view why, std::string_view expected,
                       Body body);

// A body with parameters, for tables of cases.
class CaseBody {
 public:
  virtual ~CaseBody() = default;
  virtual Task<absl::Status> Run() = 0;
};
void Conforms(std::string_view expected, CaseBody& body);

// The case is `function(args...)`, which is called for each run.
template <typename F, typename... Args>
  requires(sizeof...(Args) > 0)
void Conforms(std::string_view expected, F function, Args... args) {
  const auto call = [=]() -> Task<absl::Status> {
    if constexpr (std::is_same_v<decltype(function(args...)), Task<void>>) {
      co_await function(args...);
      co_return absl::OkStatus();
    } else {
      co_return co_await function(args...);
    }
  };
  class Call final : public CaseBody {
   public:
    explicit Call(const decltype(call)& its_call) : call_(its_call) {}
    Task<absl::Status> Run() override { co_return co_await call_(); }

   private:
    const decltype(call)& call_;
  };
  Call body(call);
  Conforms(expected, static_cast<CaseBody&>(body));
}

// ----------------------------------------------------------------------------
// What cases are made of.

// Says `text` when it is destroyed: how a case sees in what order frames go.
class SaysAtItsEnd {
 public:
  explicit SaysAtItsEnd(std::string text) : text_(std::move(text)) {}
  SaysAtItsEnd(SaysAtItsEnd&& other) noexcept
      : text_(std::exchange(other.text_, {})) {}
  SaysAtItsEnd& operator=(SaysAtItsEnd&&) = delete;
  ~SaysAtItsEnd() {
    if (!text_.empty()) Saw(text_);
  }

 private:
  std::string text_;
};

// After so many ticks: says `text`; gives a value; fails; throws.
Task<void> SayIn(int ticks, std::string text);
Task<int> GiveIn(int ticks, int value);
Task<absl::Status> FailIn(int ticks, std::string text);
Task<absl::StatusOr<int>> GiveOrFailIn(int ticks, absl::StatusOr<int> result);
Task<void> ThrowIn(int ticks, std::string text);

// Waits until it is cancelled, and says so.
Task<void> WaitForever(std::string name);

// Lets every other task go on until it waits for something that only another
// one, or time, can bring.
Task<void> OthersWait();

// "OK", or the message of an error, without what it stands in front of.
std::string Text(const absl::Status& status);
// The same with the errors behind it: "first (second; third)".
std::string AllOfText(const absl::Status& status);

}  // namespace braid::conformance

#endif  // TESTS_CONFORMANCE_CONFORMANCE_H_
