#include "tests/conformance/program.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "braid/backend/sim/random.h"

namespace braid::conformance {
namespace {

using Kind = Node::Kind;

const char* NameOf(Kind kind) {
  switch (kind) {
    case Kind::kSleep:
      return "sleep";
    case Kind::kFail:
      return "fail";
    case Kind::kThrow:
      return "throw";
    case Kind::kCancelScope:
      return "cancel scope";
    case Kind::kCancelTask:
      return "cancel task";
    case Kind::kSetEvent:
      return "set event";
    case Kind::kWaitEvent:
      return "wait for event";
    case Kind::kSend:
      return "send";
    case Kind::kReceive:
      return "receive";
    case Kind::kCloseSender:
      return "close sender";
    case Kind::kNotify:
      return "notify";
    case Kind::kWaitCondition:
      return "wait for condition";
    case Kind::kSetWatch:
      return "set watch";
    case Kind::kNextOfWatch:
      return "next of watch";
    case Kind::kRequestStop:
      return "request stop";
    case Kind::kWaitForStop:
      return "wait for stop";
    case Kind::kSendDatagram:
      return "send datagram";
    case Kind::kReceiveDatagram:
      return "receive datagram";
    case Kind::kSendBytes:
      return "send bytes";
    case Kind::kReceiveBytes:
      return "receive bytes";
    case Kind::kLock:
      return "lock";
    case Kind::kAcquire:
      return "acquire";
    case Kind::kScope:
      return "scope";
    case Kind::kFailAfter:
      return "fail after";
    case Kind::kShield:
      return "shield";
    case Kind::kGroup:
      return "group";
    case Kind::kBackground:
      return "with background";
    case Kind::kFinally:
      return "finally";
    case Kind::kAllOf:
      return "all of";
    case Kind::kAnyOf:
      return "any of";
    case Kind::kFirstOk:
      return "first ok";
  }
  return "?";
}

class Generator {
 public:
  Generator(uint64_t seed, ProgramSize size) : random_(seed), size_(size) {}

  Program Make() {
    Program program;
    program.network = Below(2) == 0;
    network_ = program.network;
    program.body = Sequence(0, 0);
    program.slots = slots_;
    program.rounds = size_.rounds;
    AimCancels(program.body);
    return program;
  }

 private:
  int Below(int bound) {
    return static_cast<int>(random_.Below(static_cast<uint64_t>(bound)));
  }
  int NewSlot() { return slots_++; }

  // `held`: a bit for each mutex that the task has locked around it.
  std::vector<Node> Sequence(int depth, int held) {
    std::vector<Node> nodes;
    const int length = depth == 0 ? size_.length : 1 + Below(size_.length);
    while (static_cast<int>(nodes.size()) < length) {
      Node node = One(depth, held);
      const bool ends = node.kind == Kind::kFail || node.kind == Kind::kThrow;
      if (ends && depth == 0) continue;  // the program would be short
      nodes.push_back(std::move(node));
      if (ends) break;
    }
    return nodes;
  }

  Node One(int depth, int held) {
    const bool may_nest = depth < 4 && slots_ < size_.slots;
    if (may_nest && Below(100) < (depth == 0 ? 80 : 45))
      return Compound(depth, held);
    Node node = Simple();
    // What waits, mostly in vain, is often given up after a round or two, so
    // that the task goes on.
    if (slots_ >= 2 * size_.slots || !Waits(node.kind) || Below(3) == 0)
      return node;
    Node limit;
    limit.kind = Below(2) == 0 ? Kind::kScope : Kind::kFailAfter;
    limit.number = 1 + Below(2);
    limit.slot = NewSlot();
    if (limit.kind == Kind::kScope) scopes_.push_back(limit.slot);
    limit.parts.push_back({std::move(node)});
    return limit;
  }

  static bool Waits(Kind kind) {
    switch (kind) {
      case Kind::kWaitEvent:
      case Kind::kSend:
      case Kind::kReceive:
      case Kind::kWaitCondition:
      case Kind::kNextOfWatch:
      case Kind::kWaitForStop:
      case Kind::kReceiveDatagram:
      case Kind::kReceiveBytes:
        return true;
      default:
        return false;
    }
  }

  Node Simple() {
    constexpr std::pair<Kind, int> kWeights[] = {
        {Kind::kSleep, 14},        {Kind::kFail, 5},
        {Kind::kThrow, 3},         {Kind::kCancelScope, 7},
        {Kind::kCancelTask, 7},    {Kind::kSetEvent, 5},
        {Kind::kWaitEvent, 6},     {Kind::kSend, 9},
        {Kind::kReceive, 9},       {Kind::kCloseSender, 2},
        {Kind::kNotify, 5},        {Kind::kWaitCondition, 5},
        {Kind::kSetWatch, 4},      {Kind::kNextOfWatch, 4},
        {Kind::kRequestStop, 2},   {Kind::kWaitForStop, 2},
        {Kind::kSendDatagram, 30}, {Kind::kReceiveDatagram, 30},
        {Kind::kSendBytes, 20},    {Kind::kReceiveBytes, 20},
    };
    int all = 0;
    for (const auto& [kind, weight] : kWeights) {
      const bool of_network = kind >= Kind::kSendDatagram;
      if (network_ || !of_network) all += weight;
    }
    Node node;
    int pick = Below(all);
    for (const auto& [kind, weight] : kWeights) {
      node.kind = kind;
      pick -= weight;
      if (pick < 0) break;
    }
    if (in_background_ > 0 && Waits(node.kind)) node.kind = Kind::kSleep;
    node.number = node.kind == Kind::kSleep ? 1 + Below(3) : Below(kShared);
    return node;
  }

  Node Compound(int depth, int held) {
    constexpr Kind kKinds[] = {
        Kind::kLock,      Kind::kAcquire,    Kind::kScope,   Kind::kScope,
        Kind::kFailAfter, Kind::kShield,     Kind::kGroup,   Kind::kGroup,
        Kind::kGroup,     Kind::kBackground, Kind::kFinally, Kind::kFinally,
        Kind::kAllOf,     Kind::kAnyOf,      Kind::kFirstOk,
    };
    Node node;
    node.kind = kKinds[Below(static_cast<int>(std::size(kKinds)))];
    if (in_background_ > 0 &&
        (node.kind == Kind::kLock || node.kind == Kind::kAcquire))
      return Simple();
    node.passes_on = Below(2) == 0;
    node.number = 1 + Below(4);
    const auto own_part = [&] {
      node.parts.push_back(Sequence(depth + 1, held));
    };
    const auto task_part = [&] {
      node.slots.push_back(NewSlot());
      node.parts.push_back(Sequence(depth + 1, 0));
    };
    switch (node.kind) {
      case Kind::kLock: {
        node.number = Below(kShared);
        const int bit = 1 << node.number;
        // Twice in one task would be a mistake of the program.
        if ((held & bit) != 0) return Simple();
        held |= bit;
        own_part();
        break;
      }
      case Kind::kAcquire:
        node.number = Below(kShared);
        own_part();
        break;
      case Kind::kScope:
      case Kind::kFailAfter:
      case Kind::kShield:
        node.slot = NewSlot();
        if (node.kind == Kind::kScope) scopes_.push_back(node.slot);
        own_part();
        break;
      case Kind::kFinally:
        node.slot = NewSlot();
        own_part();
        own_part();
        break;
      case Kind::kGroup:
        own_part();
        for (int i = 1 + Below(3); i > 0; --i) task_part();
        tasks_.insert(tasks_.end(), node.slots.begin(), node.slots.end());
        break;
      case Kind::kBackground:
        own_part();
        // It goes on until the body has ended, which may be a moment later when
        // both are to stop: whether something reaches it until then is open. So
        // it waits for nothing that somebody else could hand it.
        ++in_background_;
        task_part();
        --in_background_;
        break;
      default:  // a combinator
        for (int i = 2 + Below(2); i > 0; --i) task_part();
        break;
    }
    return node;
  }

  // At anything there is, once that is known.
  void AimCancels(std::vector<Node>& nodes) {
    for (Node& node : nodes) {
      if (node.kind == Kind::kCancelScope && !scopes_.empty())
        node.number = scopes_[static_cast<size_t>(
            Below(static_cast<int>(scopes_.size())))];
      if (node.kind == Kind::kCancelTask && !tasks_.empty())
        node.number =
            tasks_[static_cast<size_t>(Below(static_cast<int>(tasks_.size())))];
      for (std::vector<Node>& part : node.parts) AimCancels(part);
    }
  }

  SimRandom random_;
  const ProgramSize size_;
  int slots_ = 2;
  std::vector<int> scopes_;  // their slots
  std::vector<int> tasks_;   // of groups: theirs
  bool network_ = false;
  int in_background_ = 0;  // how many are around
};

void Append(std::string& text, const std::vector<Node>& nodes, int depth) {
  for (const Node& node : nodes) {
    text.append(static_cast<size_t>(2 * depth), ' ');
    text += std::string(NameOf(node.kind)) + " " + std::to_string(node.number);
    if (node.slot != 0)
      text += ", deadline in slot " + std::to_string(node.slot);
    if (node.passes_on) text += ", passes errors on";
    text += "\n";
    const size_t own = node.parts.size() - node.slots.size();
    for (size_t i = 0; i < node.parts.size(); ++i) {
      text.append(static_cast<size_t>(2 * depth), ' ');
      text += i < own ? "|- runs\n"
                      : "|- task " + std::to_string(node.slots[i - own]) + "\n";
      Append(text, node.parts[i], depth + 1);
    }
  }
}

// Calls `visit` with each sequence of the program.
template <typename F>
void ForEachSequence(std::vector<Node>& nodes, F visit) {
  visit(nodes);
  for (Node& node : nodes) {
    for (std::vector<Node>& part : node.parts) ForEachSequence(part, visit);
  }
}

}  // namespace

Program MakeProgram(uint64_t seed, ProgramSize size) {
  return Generator(seed, size).Make();
}

std::string Format(const Program& program) {
  std::string text = std::to_string(program.slots) + " slots, " +
                     std::to_string(program.rounds) + " rounds" +
                     (program.network ? ", network" : "") + "\n";
  Append(text, program.body, 0);
  return text;
}

std::vector<Program> Smaller(const Program& program) {
  std::vector<Program> all;
  for (size_t target = 0;; ++target) {
    Program copy = program;
    size_t seen = 0;
    bool erased = false;
    ForEachSequence(copy.body, [&](std::vector<Node>& nodes) {
      if (!erased && target < seen + nodes.size()) {
        nodes.erase(nodes.begin() + static_cast<std::ptrdiff_t>(target - seen));
        erased = true;
      }
      seen += nodes.size();
    });
    if (!erased) return all;
    all.push_back(std::move(copy));
  }
}

}  // namespace braid::conformance
