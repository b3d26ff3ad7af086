#include "braid/rpc/sim/link.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "braid/backend/errno_status.h"
#include "braid/backend/sim/faults.h"
#include "braid/core/loop_local.h"
#include "braid/rpc/detail/wire_status.h"

namespace braid::rpc::detail {
namespace {

using braid::detail::Check;
using braid::detail::InboxNode;
using braid::detail::IntrusiveList;
using braid::detail::Loop;

constexpr std::string_view kHelloText = "braid-sim-rpc 1";
// Of what is not a message; gRPC's limit of metadata is about that.
constexpr size_t kMaxOther = size_t{16} * 1024;
// Read in a row.
constexpr size_t kAtOnce = size_t{128} * 1024;

void AppendNumber(std::string& to, uint32_t number) {
  for (int shift = 24; shift >= 0; shift -= 8) {
    to += static_cast<char>(number >> shift & 0xff);
  }
}

uint32_t NumberAt(std::string_view bytes) {
  uint32_t number = 0;
  for (size_t i = 0; i < 4; ++i) {
    number = number << 8 | static_cast<unsigned char>(bytes[i]);
  }
  return number;
}

}  // namespace

struct Soon::Node final : InboxNode {
  explicit Node(Soon* soon) : InboxNode(&Run), soon(soon) {}
  static void Run(InboxNode& inbox_node) {
    auto* node = static_cast<Node*>(&inbox_node);
    Soon* soon = node->soon;
    delete node;
    if (soon == nullptr) return;
    soon->node_ = nullptr;
    soon->run_();  // may destroy it
  }
  Soon* soon;
};

void Soon::Schedule() {
  if (node_ != nullptr) return;
  node_ = new Node(this);
  loop_.Post(node_);
}

void Soon::Forget() {
  if (node_ != nullptr) std::exchange(node_, nullptr)->soon = nullptr;
}

class LoopBounds {
 public:
  LoopBounds() = default;
  LoopBounds(const LoopBounds&) = delete;
  LoopBounds& operator=(const LoopBounds&) = delete;
  ~LoopBounds() {
    while (LoopBound* one = all_.PopFront()) {
      one->all_ = nullptr;
      one->LoopEnds();
    }
  }
  void Add(LoopBound& one) { all_.PushBack(one); }
  void Remove(LoopBound& one) { all_.Remove(one); }

 private:
  IntrusiveList<LoopBound> all_;
};

namespace {
constexpr LoopLocal<LoopBounds> kBounds;
}  // namespace

LoopBound::LoopBound() : all_(&kBounds.Get()) { all_->Add(*this); }
LoopBound::~LoopBound() {
  if (all_ != nullptr) all_->Remove(*this);
}

Link::Link(std::shared_ptr<braid::detail::Kernel> kernel,
           std::shared_ptr<braid::detail::SimSocket> socket, size_t max_message)
    : kernel_(std::move(kernel)),
      socket_(std::move(socket)),
      max_message_(max_message),
      soon_([this] { Work(); }) {
  socket_->user = this;
  socket_->connection->set_user(this);
  peer_ = socket_->connection->peer();
  Send(FrameType::kHello, 0, kHelloText);
}

Link::~Link() {
  socket_->user = nullptr;
  socket_->connection->set_user(nullptr);
  kernel_->Close(*socket_);
  kernel_->Flush();
}

void Link::Send(FrameType type, uint32_t call, std::string_view payload) {
  std::string header;
  AppendNumber(header, static_cast<uint32_t>(payload.size()));
  header += static_cast<char>(type);
  AppendNumber(header, call);
  out_.Append(header);
  out_.Append(payload);
  Schedule();
}

void Link::Send(FrameType type, uint32_t call,
                const google::protobuf::MessageLite& payload) {
  Send(type, call, payload.SerializeAsString());
}

void Link::SendCredit(uint32_t call, int64_t bytes) {
  std::string payload;
  AppendNumber(payload, static_cast<uint32_t>(bytes));
  Send(FrameType::kCredit, call, payload);
}

void Link::Work() {
  // While it connects there is nothing to read or write yet.
  if (socket_->connection->state() ==
      braid::detail::TcpConnection::State::kSynSent) {
    return;
  }
  if (braid::detail::FaultOf({"exchange frames of RPC", ECONNRESET},
                             [&] { return "with " + peer_.ToString(); }) != 0) {
    socket_->connection->Reset();
  }
  const std::string lost = Receive();
  if (!lost.empty()) return OnLost(lost);
  Write();
  OnWorked();
}

std::string Link::Receive() {
  std::array<std::byte, 16384> buffer;
  size_t read = 0;
  while (read < kAtOnce) {
    const size_t size = socket_->connection->Read(buffer);
    // That it was read makes room, of which the peer is told.
    kernel_->Flush();
    if (size == 0) break;
    read += size;
    std::string_view bytes(reinterpret_cast<const char*>(buffer.data()), size);
    const size_t skipped = std::min(skip_, bytes.size());
    skip_ -= skipped;
    in_.Append(bytes.substr(skipped));
    if (std::string broken = Parse(); !broken.empty()) return broken;
  }
  if (read >= kAtOnce) {
    Schedule();
    return "";
  }
  if (const int error = socket_->connection->error(); error != 0) {
    return std::strerror(error);
  }
  return socket_->connection->peer_ended() ? "the other side closed it" : "";
}

std::string Link::Parse() {
  while (in_.size() >= kFrameHeader) {
    const std::string_view header = in_.view();
    const size_t size = NumberAt(header);
    const auto type = static_cast<FrameType>(header[4]);
    const uint32_t call = NumberAt(header.substr(5));
    if (!greeted_ && (type != FrameType::kHello || size != kHelloText.size())) {
      return "the other side speaks something else";
    }
    const bool message = type == FrameType::kMessage;
    if (size > (message ? max_message_ : kMaxOther)) {
      if (!message && type != FrameType::kBegin &&
          type != FrameType::kHeaders && type != FrameType::kEnd) {
        return "the other side broke the protocol, by a frame that is too "
               "large";
      }
      const size_t there = std::min(size, in_.size() - kFrameHeader);
      in_.Drop(kFrameHeader + there);
      skip_ = size - there;
      OnTooLarge(type, call, size);
      continue;
    }
    if (in_.size() < kFrameHeader + size) break;
    std::string payload(header.substr(kFrameHeader, size));
    in_.Drop(kFrameHeader + size);
    if (type == FrameType::kHello) {
      if (greeted_ || payload != kHelloText) {
        return "the other side speaks something else";
      }
      greeted_ = true;
      OnHello();
    } else if (type == FrameType::kPing) {
      Send(FrameType::kPong, 0);
    } else if (!OnFrame(type, call, std::move(payload))) {
      return absl::StrCat(
          "the other side broke the protocol, by a frame of "
          "type ",
          static_cast<int>(type));
    }
  }
  return "";
}

void Link::Write() {
  while (!out_.empty()) {
    const size_t size = socket_->connection->Write(out_.view());
    kernel_->Flush();
    if (size == 0) break;
    out_.Drop(size);
  }
}

Metadata FromEntries(const Entries& entries) {
  Metadata metadata;
  for (const sim::Entry& entry : entries) {
    metadata.Add(entry.key(), entry.value());
  }
  return metadata;
}

void ToEntries(const Metadata& metadata, Entries& entries) {
  for (const Metadata::Entry& entry : metadata) {
    sim::Entry& to = *entries.Add();
    to.set_key(entry.key);
    to.set_value(entry.value);
  }
}

sim::End ToEnd(const absl::Status& status, const Metadata& trailers) {
  sim::End end;
  end.set_code(static_cast<int>(status.code()));
  end.set_message(StatusMessage(status));
  end.set_details(StatusDetailBytes(status));
  ToEntries(trailers, *end.mutable_trailers());
  return end;
}

int64_t CreditIn(std::string_view payload) {
  return payload.size() == 4 ? int64_t{NumberAt(payload)} : -1;
}

std::string Inflow::Pop(Link* link, uint32_t call) {
  std::string message = std::move(messages_.front());
  messages_.pop_front();
  read_ += CostOf(message);
  if (read_ >= kWindow / 2 && link != nullptr) {
    granted_ += read_;
    link->SendCredit(call, std::exchange(read_, 0));
  }
  return message;
}

}  // namespace braid::rpc::detail
