// Random programs of SDK operations, whose outcome the rules determine.
//
// For: differential_test.cc, which runs them on every backend and compares.
//
// What makes an outcome determined: time is divided. Every task, and every
// deadline, has a slot of its own in each round, and what a task does of its
// own accord, it does in its slot. So only one thing happens at a time,
// everything else at that time is what follows from it, and of that the rules
// say what it is: who is served next, who is stopped, what a group gives.
// Nothing depends on the order of ready tasks, which is left open.

#ifndef TESTS_CONFORMANCE_PROGRAM_H_
#define TESTS_CONFORMANCE_PROGRAM_H_

#include <cstdint>
#include <string>
#include <vector>

namespace braid::conformance {

// How many of each thing programs share.
inline constexpr int kShared = 2;

struct Node {
  enum class Kind {
    // Of no parts. `number` says which of the shared things.
    kSleep,        // `number` rounds
    kFail,         // ends the task with an error
    kThrow,        // ends the task with an exception
    kCancelScope,  // the scope that `number` is the slot of, if it is there
    kCancelTask,   // the task that `number` is the slot of, if it is there
    kSetEvent,
    kWaitEvent,
    kSend,
    kReceive,
    kCloseSender,
    kNotify,  // one, or all if `number` is odd
    kWaitCondition,
    kSetWatch,
    kNextOfWatch,
    kRequestStop,  // of the innermost group around
    kWaitForStop,
    kSendDatagram,
    kReceiveDatagram,
    kSendBytes,
    kReceiveBytes,
    // Of one part, a sequence.
    kLock,       // runs it with a mutex locked
    kAcquire,    // runs it with a permit of a semaphore
    kScope,      // in a cancel scope with a deadline, `number` rounds off
    kFailAfter,  // the same as FailAfter
    kShield,     // shielded, in a scope like that
    // Of several.
    kGroup,       // the first is the body, the others its tasks
    kBackground,  // the first is the body, the second its background
    kFinally,     // the body, and the clean-up, in a scope like that
    kAllOf,
    kAnyOf,
    kFirstOk,
  };

  Kind kind = Kind::kSleep;
  int number = 0;
  bool passes_on = false;  // whether an error of the parts is one of the task
  int slot = 0;            // of its deadline
  std::vector<std::vector<Node>> parts;
  std::vector<int> slots;  // of the parts that are tasks of their own
};

struct Program {
  std::vector<Node> body;
  int slots = 0;   // 0 is the first task's, 1 that of the deadline of it all
  int rounds = 0;  // until then
  bool network = false;
};

struct ProgramSize {
  int slots = 12;  // tasks and deadlines, about
  int length = 4;  // of a sequence, at most
  int rounds = 10;
};

// The same for the same seed, whatever the platform.
Program MakeProgram(uint64_t seed, ProgramSize size);

// A line an operation, for people.
std::string Format(const Program& program);

// The program without one of its operations, for each of them: what a program
// that fails is made smaller with.
std::vector<Program> Smaller(const Program& program);

}  // namespace braid::conformance

#endif  // TESTS_CONFORMANCE_PROGRAM_H_
