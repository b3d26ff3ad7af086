#include "tests/conformance/interpreter.h"

#include <algorithm>
#include <array>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "braid/core/core.h"
#include "braid/net/tcp.h"
#include "braid/net/udp.h"
#include "braid/sync/sync.h"
#include "tests/conformance/network.h"

namespace braid::conformance {
namespace {

using Kind = Node::Kind;

// The messages of an error and of those behind it. The latter sorted: they may
// have come at the same time.
std::string TextOf(const absl::Status& status) {
  if (status.ok()) return "OK";
  std::vector<std::string> behind;
  for (const absl::Status& other : SuppressedErrors(status))
    behind.emplace_back(other.message());
  std::sort(behind.begin(), behind.end());
  std::string text = absl::IsAborted(status)
                         ? std::string(status.message())
                         : absl::StatusCodeToString(status.code());
  for (const std::string& other : behind) text += " + " + other;
  return text;
}

// An exception as a status, so that it can be passed on or not.
absl::Status StatusOf(const std::exception& exception) {
  if (const auto* group = dynamic_cast<const GroupError*>(&exception)) {
    return absl::AbortedError(
        "GroupError of " + std::to_string(group->exceptions().size()) +
        " and " + std::to_string(group->statuses().size()));
  }
  return absl::AbortedError(std::string("exception ") + exception.what());
}

class Interpreter {
 public:
  Interpreter(const Program& program, Duration slot)
      : program_(program),
        slot_(slot),
        scopes_(static_cast<size_t>(program.slots)),
        handles_(static_cast<size_t>(program.slots)),
        logs_(static_cast<size_t>(program.slots)) {
    for (int i = 0; i < kShared; ++i) {
      shared_.push_back(std::make_unique<Shared>(static_cast<size_t>(i)));
    }
  }

  // Runs all of it.
  Task<absl::Status> Main() {
    if (program_.network) co_await OrReturn(OpenSockets());
    start_ = Now();
    const bool ended =
        co_await MoveOnAt(Deadline(1, program_.rounds), [this]() -> Task<void> {
          try {
            (co_await RunTask(0, &program_.body, nullptr)).IgnoreError();
          } catch (const std::exception&) {
            // Its log says so.
          }
        });
    Log(1, ended ? "the program ended" : "the program was stopped");
    const LoopStats stats = detail::Loop::Current().stats();
    left_ = stats.timers + stats.ready + stats.tasks_alive - 1;
    co_return absl::OkStatus();
  }

  // On a real clock: notices when the loop is late. It looks several times in a
  // slot, so that nothing is done a slot too late without being seen.
  Task<void> NoticeLateness() {
    while (start_ == Time()) co_await SleepFor(slot_ / 4);
    for (next_look_ = start_ + slot_;; next_look_ += slot_ / 4) {
      co_await SleepUntil(next_look_);
      if (IsLate()) late_ = true;
    }
  }
  // Also when the program has ended before the next look.
  bool late() const { return late_ || IsLate(); }

  // Tasks and timers that were there at the end.
  uint64_t left() const { return left_; }

  std::string Observed() const {
    std::string all;
    for (size_t i = 0; i < logs_.size(); ++i) {
      if (!logs_[i].empty()) all += std::to_string(i) + ": " + logs_[i] + "\n";
    }
    return all;
  }

 private:
  using Sequence = std::vector<Node>;

  // What tasks share, one of `kShared`.
  struct Shared {
    explicit Shared(size_t index)
        : semaphore(1), channel(MakeChannel<int>(index)), watch(0) {}
    Event event;
    Mutex mutex;
    Semaphore semaphore;
    Channel<int> channel;
    Mutex condition_mutex;
    Condition condition;
    Watch<int> watch;
    std::optional<UdpSocket> receiver;
    std::optional<TcpEnds> ends;
  };

  // Who runs: whose slots and log are used, and in what group.
  struct Who {
    int slot;
    TaskGroup* group;
  };

  int64_t Index() const { return (Now() - start_) / slot_; }

  bool IsLate() const {
    return next_look_ != Time() && Now() - next_look_ > slot_ / 2;
  }

  void Log(int slot, std::string_view what) {
    std::string& log = logs_[static_cast<size_t>(slot)];
    if (!log.empty()) log += ", ";
    log += std::string(what) + "@" + std::to_string(Index());
  }

  // The beginning of the next slot of this number, `rounds` - 1 rounds later.
  Time Deadline(int number, int rounds) const {
    const int64_t now = Index();
    const int64_t length = program_.slots;
    int64_t next = now - now % length + number;
    if (next <= now) next += length;
    return start_ + (next + (rounds - 1) * length) * slot_;
  }

  auto OwnSlot(Who who, int rounds = 1) {
    return SleepUntil(Deadline(who.slot, rounds));
  }

  Task<absl::Status> OpenSockets() {
    sender_ = co_await OrReturn(UdpSocket::Bind(kLoopback));
    for (const auto& shared : shared_) {
      shared->receiver = co_await OrReturn(UdpSocket::Bind(kLoopback));
      shared->ends = co_await OrReturn(ConnectedTcp({}));
    }
    co_return absl::OkStatus();
  }

  // A task: says how it ends.
  Task<absl::Status> RunTask(int slot, const Sequence* sequence,
                             TaskGroup* group) {
    struct SaysStopped {
      SaysStopped(Interpreter* its_owner, int its_slot)
          : owner(its_owner), slot(its_slot) {}
      ~SaysStopped() {
        if (!ended) owner->Log(slot, "stopped");
      }
      Interpreter* owner;
      int slot;
      bool ended = false;
    } end(this, slot);
    Log(slot, "begins");
    absl::Status status;
    try {
      status = co_await RunSequence({slot, group}, *sequence);
    } catch (...) {
      end.ended = true;
      Log(slot, "throws");
      throw;
    }
    end.ended = true;
    Log(slot, status.ok() ? "ends" : "fails: " + TextOf(status));
    co_return status;
  }

  // Each operation in a slot of its own, and the end too.
  Task<absl::Status> RunSequence(Who who, const Sequence& sequence) {
    for (const Node& node : sequence) {
      co_await OwnSlot(who);
      if (node.parts.empty()) {
        co_await OrReturn(RunSimple(who, node));
        continue;
      }
      absl::Status status;
      try {
        status = co_await RunCompound(who, node);
      } catch (const std::exception& e) {
        status = StatusOf(e);
      }
      Log(who.slot, TextOf(status));
      if (!status.ok() && node.passes_on) co_return status;
    }
    co_await OwnSlot(who);
    co_return absl::OkStatus();
  }

  Task<absl::Status> RunSimple(Who who, const Node& node) {
    const auto number = static_cast<size_t>(node.number);
    const std::string own = std::to_string(who.slot);
    const auto log = [&](std::string_view what) { Log(who.slot, what); };
    switch (node.kind) {
      case Kind::kSleep:
        co_await OwnSlot(who, node.number);
        log("slept");
        break;
      case Kind::kFail:
        co_return absl::AbortedError("error of " + own);
      case Kind::kThrow:
        throw std::runtime_error("of " + own);
      case Kind::kCancelScope:
        if (number < scopes_.size() && scopes_[number] != nullptr) {
          log("cancels a scope");
          scopes_[number]->Cancel(own);
        }
        break;
      case Kind::kCancelTask:
        if (number < handles_.size() && handles_[number].has_value()) {
          log(handles_[number]->done() ? "cancels too late" : "cancels a task");
          handles_[number]->Cancel(own);
        }
        break;
      case Kind::kRequestStop:
        if (who.group != nullptr) who.group->RequestStop();
        break;
      case Kind::kWaitForStop:
        co_await StopRequested();
        log("stop requested");
        break;
      case Kind::kSendDatagram:
      case Kind::kReceiveDatagram:
      case Kind::kSendBytes:
      case Kind::kReceiveBytes:
        log(co_await RunNetwork(who, node.kind, *shared_[number]));
        break;
      default:
        log(co_await RunSync(who, node, *shared_[number]));
        break;
    }
    co_return absl::OkStatus();
  }

  Task<std::string> RunSync(Who who, const Node& node, Shared& shared) {
    switch (node.kind) {
      case Kind::kSetEvent:
        shared.event.Set();
        co_return "set event";
      case Kind::kWaitEvent:
        co_await shared.event.Wait();
        co_return "event";
      case Kind::kSend:
        co_return "sent " +
            KindOf(co_await shared.channel.sender.Send(who.slot));
      case Kind::kReceive: {
        const auto item = co_await shared.channel.receiver.Receive();
        co_return "received " + (!item.ok()           ? KindOf(item.status())
                                 : !item->has_value() ? std::string("end")
                                                      : std::to_string(**item));
      }
      case Kind::kCloseSender:
        shared.channel.sender.Close();
        co_return "closed";
      case Kind::kNotify:
        shared.condition.Notify(node.number % 2 == 1 ? SIZE_MAX : 1);
        co_return "notified";
      case Kind::kWaitCondition: {
        Mutex::Guard guard = co_await shared.condition_mutex.Lock();
        co_await shared.condition.Wait(guard);
        co_return "was notified";
      }
      case Kind::kSetWatch:
        shared.watch.Set(who.slot);
        co_return "set watch";
      default: {  // kNextOfWatch
        Watch<int>::Reader reader = shared.watch.Subscribe();
        const std::optional<int> first = co_await reader.Next();
        const std::optional<int> next = co_await reader.Next();
        co_return "watched " + std::to_string(*first) + " and " +
            std::to_string(*next);
      }
    }
  }

  Task<std::string> RunNetwork(Who who, Kind kind, Shared& shared) {
    const std::string own(1, static_cast<char>('A' + who.slot % 26));
    switch (kind) {
      case Kind::kSendDatagram:
        co_return "sent a datagram " +
            KindOf(co_await sender_->SendTo(own,
                                            shared.receiver->local_address()));
      case Kind::kReceiveDatagram:
        co_return "datagram " + co_await ReceiveText(&*shared.receiver);
      case Kind::kSendBytes:
        co_return "sent a byte " +
            KindOf(co_await shared.ends->client.Send(own));
      default:  // kReceiveBytes
        co_return "byte " + co_await ReceiveOnce(&shared.ends->server, 1);
    }
  }

  static std::string KindOf(const absl::Status& status) {
    return conformance::Kind(status);
  }

  // A part that is a task of its own, as a leg or a background.
  Task<absl::Status> Part(Who who, const Node& node, size_t i) {
    const size_t own = node.parts.size() - node.slots.size();
    co_return co_await RunTask(node.slots[i], &node.parts[own + i], who.group);
  }

  // The first part, until the deadline of the node.
  Task<absl::Status> UntilDeadline(Who who, const Node& node, size_t part) {
    const auto result = co_await MoveOnAt(Deadline(node.slot, node.number),
                                          RunSequence(who, node.parts[part]));
    if (!result.has_value()) Log(who.slot, "deadline");
    co_return result.value_or(absl::OkStatus());
  }

  Task<absl::Status> RunScope(Who who, const Node& node) {
    CancelScope scope(Deadline(node.slot, node.number));
    CancelScope*& entry = scopes_[static_cast<size_t>(node.slot)];
    struct Entered {
      Entered(CancelScope** its_entry, CancelScope* its_scope)
          : entry(its_entry) {
        *entry = its_scope;
      }
      ~Entered() { *entry = nullptr; }
      CancelScope** entry;
    } const entered(&entry, &scope);
    const auto result =
        co_await scope.Run(RunSequence(who, node.parts.front()));
    Log(who.slot,
        std::string(result.has_value() ? "scope done" : "scope stopped") +
            (scope.cancel_called() ? " called" : "") +
            (scope.caught() ? " caught" : ""));
    co_return result.value_or(absl::OkStatus());
  }

  Task<absl::Status> RunGroup(Who who, const Node& node) {
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          for (size_t i = 0; i < node.slots.size(); ++i) {
            const int slot = node.slots[i];
            handles_[static_cast<size_t>(slot)] = group.Start(
                "task " + std::to_string(slot), &Interpreter::RunTask, this,
                slot, &node.parts[i + 1], &group);
          }
          co_return co_await RunSequence({who.slot, &group},
                                         node.parts.front());
        });
  }

  Task<absl::Status> RunAnyOf(Who who, const Node& node) {
    std::string completed;
    absl::Status first;
    const auto take = [&](int slot, const std::optional<absl::Status>& leg) {
      if (!leg.has_value()) return;
      completed += " " + std::to_string(slot);
      if (first.ok()) first = *leg;
    };
    if (node.slots.size() == 2) {
      auto [a, b] = co_await AnyOf(Part(who, node, 0), Part(who, node, 1));
      take(node.slots[0], a);
      take(node.slots[1], b);
    } else {
      auto [a, b, c] = co_await AnyOf(Part(who, node, 0), Part(who, node, 1),
                                      Part(who, node, 2));
      take(node.slots[0], a);
      take(node.slots[1], b);
      take(node.slots[2], c);
    }
    Log(who.slot, "completed:" + completed);
    co_return first;
  }

  Task<absl::Status> RunCompound(Who who, const Node& node) {
    const auto legs = [&] {
      std::vector<Task<absl::Status>> tasks;
      for (size_t i = 0; i < node.slots.size(); ++i)
        tasks.push_back(Part(who, node, i));
      return tasks;
    };
    switch (node.kind) {
      case Kind::kLock: {
        Shared& shared = *shared_[static_cast<size_t>(node.number)];
        const Mutex::Guard guard = co_await shared.mutex.Lock();
        Log(who.slot, "locked");
        co_return co_await RunSequence(who, node.parts.front());
      }
      case Kind::kAcquire: {
        Shared& shared = *shared_[static_cast<size_t>(node.number)];
        const Semaphore::Permit permit = co_await shared.semaphore.Acquire();
        Log(who.slot, "acquired");
        co_return co_await RunSequence(who, node.parts.front());
      }
      case Kind::kScope:
        co_return co_await RunScope(who, node);
      case Kind::kFailAfter:
        co_return co_await FailAt(Deadline(node.slot, node.number),
                                  RunSequence(who, node.parts.front()));
      case Kind::kShield:
        co_return co_await Shield(UntilDeadline(who, node, 0));
      case Kind::kGroup:
        co_return co_await RunGroup(who, node);
      case Kind::kBackground:
        co_return co_await WithBackground(Part(who, node, 0),
                                          RunSequence(who, node.parts.front()));
      case Kind::kFinally:
        co_return co_await Finally(
            RunSequence(who, node.parts.front()),
            [&](const Outcome<void>& outcome) -> Task<absl::Status> {
              Log(who.slot, outcome.ok()        ? "clean-up: ok"
                            : outcome.stopped() ? "clean-up: stopped"
                                                : "clean-up: failed");
              co_return co_await UntilDeadline(who, node, 1);
            },
            kForever);
      case Kind::kAllOf:
        co_return co_await AllOf(legs());
      case Kind::kAnyOf:
        co_return co_await RunAnyOf(who, node);
      default:  // kFirstOk
        co_return co_await FirstOk(legs());
    }
  }

  const Program& program_;
  const Duration slot_;
  Time start_{};
  Time next_look_{};
  bool late_ = false;
  std::optional<UdpSocket> sender_;
  std::vector<std::unique_ptr<Shared>> shared_;
  std::vector<CancelScope*> scopes_;  // by slot, where they are
  std::vector<std::optional<TaskHandle<void>>> handles_;  // by slot
  std::vector<std::string> logs_;                         // by slot
  uint64_t left_ = 0;
};

}  // namespace

ProgramOutcome RunProgram(const Program& program, Driver& driver, Duration slot,
                          LoopOptions options) {
  ProgramOutcome outcome;
  // It goes, with its sockets, before the driver does.
  Interpreter interpreter(program, slot);
  const auto* backend = dynamic_cast<const Backend*>(&driver);
  const bool real = backend != nullptr && backend->name() != "sim";
  const absl::Status status = Run(
      driver,
      [&]() -> Task<absl::Status> {
        if (!real) co_return co_await interpreter.Main();
        absl::Cleanup note = [&] { outcome.late = interpreter.late(); };
        co_return co_await WithBackground(interpreter.NoticeLateness(),
                                          interpreter.Main());
      },
      options);
  outcome.observed = interpreter.Observed() + "ended: " + status.ToString();
  // On a real clock, what watches it is there.
  if (!real && interpreter.left() != 0) outcome.observed += ", not tidied up";
  return outcome;
}

}  // namespace braid::conformance
