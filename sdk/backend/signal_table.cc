#include "braid/backend/signal_table.h"

#include <sched.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <string>
#include <type_traits>

#include "braid/backend/errno_status.h"
#include "braid/core/check.h"

namespace braid::detail {
namespace {

constexpr int kSignals = 65;  // 1 to 64
constexpr size_t kMaxListeners = 256;

using SignalSet = uint64_t;
constexpr SignalSet BitOf(int signal) { return SignalSet{1} << (signal - 1); }

struct Slot {
  std::atomic<SignalListener*> listener = nullptr;
  std::atomic<SignalSet> signals = 0;
  // Handlers that are using `listener` now, on any thread.
  std::atomic<int> users = 0;
};

struct Table {
  std::array<Slot, kMaxListeners> slots;
  std::atomic<size_t> used = 0;  // slots beyond have never been used
  // The rest is for those who change it.
  std::mutex mutex;
  std::array<int, kSignals> listeners = {};  // how many, of each signal
  std::array<struct sigaction, kSignals> before = {};
};

// Read by handlers without a lock; it needs neither making nor destroying.
constinit Table table;
static_assert(std::is_trivially_destructible_v<Table>);

// On the thread that the kernel chose, in the middle of anything.
void Handle(int signal) {
  const int saved = errno;
  const size_t used = table.used.load(std::memory_order_acquire);
  for (size_t i = 0; i < used; ++i) {
    Slot& slot = table.slots[i];
    // Says that the listener is in use before it looks whether there is one:
    // whoever takes it away does these in the other order, so one of the two
    // sees the other.
    slot.users.fetch_add(1, std::memory_order_seq_cst);
    SignalListener* listener = slot.listener.load(std::memory_order_seq_cst);
    if (listener != nullptr &&
        (slot.signals.load(std::memory_order_acquire) & BitOf(signal)) != 0) {
      listener->OnSignal(signal);
    }
    slot.users.fetch_sub(1, std::memory_order_release);
  }
  errno = saved;
}

absl::Status CheckSignal(int signal) {
  const auto refused = [&](const char* why) {
    std::string name = "signal " + std::to_string(signal);
    if (const char* abbreviation = sigabbrev_np(signal);
        abbreviation != nullptr) {
      name += std::string(" (SIG") + abbreviation + ")";
    }
    return absl::InvalidArgumentError(name + " can't be listened to: " + why);
  };
  switch (signal) {
    case SIGKILL:
    case SIGSTOP:
      return refused("nobody can catch it");
    case SIGSEGV:
    case SIGBUS:
    case SIGFPE:
    case SIGILL:
      return refused(
          "it says that the program did something wrong, and can't be put off");
    default:
      break;
  }
  // 32 and 33 are the thread library's own.
  if (signal < 1 || signal >= kSignals || (signal >= 32 && signal < SIGRTMIN))
    return refused("there is no such signal");
  return absl::OkStatus();
}

}  // namespace

std::string SignalName(int signal) {
  const char* abbreviation = sigabbrev_np(signal);
  return abbreviation != nullptr ? std::string("SIG") + abbreviation
                                 : "signal " + std::to_string(signal);
}

absl::Status CheckSignals(std::span<const int> signals) {
  if (signals.empty())
    return absl::InvalidArgumentError(
        "no signal to listen to is named; name at least one");
  for (int signal : signals) {
    if (absl::Status status = CheckSignal(signal); !status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status ListenForSignals(SignalListener& listener,
                              std::span<const int> signals) {
  if (absl::Status status = CheckSignals(signals); !status.ok()) return status;
  SignalSet set = 0;
  for (int signal : signals) set |= BitOf(signal);

  const std::lock_guard lock(table.mutex);
  Slot* slot = nullptr;
  size_t index = 0;
  for (; index < kMaxListeners; ++index) {
    if (table.slots[index].listener.load(std::memory_order_relaxed) ==
        nullptr) {
      slot = &table.slots[index];
      break;
    }
  }
  if (slot == nullptr) {
    return absl::ResourceExhaustedError(
        "too many listeners to signals: " + std::to_string(kMaxListeners) +
        " are the limit");
  }
  slot->signals.store(set, std::memory_order_relaxed);
  slot->listener.store(&listener, std::memory_order_seq_cst);
  if (index >= table.used.load(std::memory_order_relaxed))
    table.used.store(index + 1, std::memory_order_release);

  for (int signal = 1; signal < kSignals; ++signal) {
    if ((set & BitOf(signal)) == 0 || table.listeners[signal]++ > 0) continue;
    struct sigaction action = {};
    action.sa_handler = &Handle;
    action.sa_flags = SA_RESTART;
    ::sigfillset(&action.sa_mask);
    const int result = ::sigaction(signal, &action, &table.before[signal]);
    Check(result == 0,
          "the system refuses a handler for a signal that it lets be caught "
          "(sigaction)");
  }
  return absl::OkStatus();
}

void StopListeningForSignals(SignalListener& listener) noexcept {
  const std::lock_guard lock(table.mutex);
  for (Slot& slot : table.slots) {
    if (slot.listener.load(std::memory_order_relaxed) != &listener) continue;
    const SignalSet set = slot.signals.load(std::memory_order_relaxed);
    for (int signal = 1; signal < kSignals; ++signal) {
      if ((set & BitOf(signal)) == 0) continue;
      if (--table.listeners[signal] == 0)
        ::sigaction(signal, &table.before[signal], nullptr);
    }
    slot.listener.store(nullptr, std::memory_order_seq_cst);
    while (slot.users.load(std::memory_order_seq_cst) != 0) ::sched_yield();
    return;
  }
}

void RedeliverSignals(std::span<const int> signals) noexcept {
  for (int signal : signals) {
    const std::unique_lock lock(table.mutex);
    if (table.listeners[signal] > 0) continue;
    ::kill(::getpid(), signal);
  }
}

}  // namespace braid::detail
