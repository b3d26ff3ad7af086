// A client's side of calls in a simulation: see link.h. Implements
// detail/make_transport.h.
//
// As gRPC's channels do: one connection for all calls, made when the first is
// begun; a call fails with UNAVAILABLE if that can't be had, unless it waits
// for ready; attempts that follow a failed one wait, longer each time
// (gRPC's doc/connection-backoff.md).

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "braid/backend/errno_status.h"
#include "braid/backend/host.h"
#include "braid/backend/sim/sim_backend.h"
#include "braid/backend/sim/world.h"
#include "braid/core/detail/timer_queue.h"
#include "braid/rpc/client.h"
#include "braid/rpc/detail/make_transport.h"
#include "braid/rpc/detail/wire_status.h"
#include "braid/rpc/sim/link.h"
#include "braid/rpc/transport.h"

namespace braid::rpc::detail {
namespace {

using braid::detail::IntrusiveList;
using braid::detail::IntrusiveListNode;
using braid::detail::Kernel;
using braid::detail::Loop;
using braid::detail::SimBackend;
using braid::detail::SimSocket;
using braid::detail::Timer;

constexpr Duration kConnectLimit = std::chrono::seconds(20);
constexpr Duration kFirstBackoff = std::chrono::seconds(1);
constexpr Duration kLongestBackoff = std::chrono::seconds(120);
constexpr double kBackoffGrows = 1.6;
constexpr double kBackoffJitter = 0.2;
// For an answer to a ping.
constexpr Duration kPingLimit = std::chrono::seconds(20);

class SimChannel;
class ClientLink;

class SimClientCall final : public ClientWire,
                            public IntrusiveListNode,
                            private Timer {
 public:
  SimClientCall(std::shared_ptr<SimChannel> channel, CallStart start,
                ClientWireEvents& events);
  SimClientCall(const SimClientCall&) = delete;
  SimClientCall& operator=(const SimClientCall&) = delete;

  void Read() override {
    reading_ = true;
    if (HasNews()) soon_.Schedule();
  }
  void Write(std::string message) override {
    out_ = std::move(message);
    write_owed_ = true;
    Pump();
  }
  void HalfClose() override {
    half_close_ = true;
    Pump();
  }
  void Cancel() override {
    Break(absl::CancelledError("the call was cancelled"));
  }
  void Abandon() override;

  // From the channel and the connection.

  bool wait_for_ready() const { return start_.wait_for_ready; }
  void Bind(ClientLink& link, uint32_t id);
  bool OnFrame(FrameType type, std::string payload);
  void OnTooLarge(FrameType type, size_t size);
  void Pump();
  // What has come is still given.
  void Fail(absl::Status status);

 private:
  struct End {
    End(absl::Status status, Metadata trailers)
        : status(std::move(status)), trailers(std::move(trailers)) {}
    absl::Status status;
    Metadata trailers;
  };

  ~SimClientCall() { loop_.Release(); }

  bool HasNews() const {
    return !ended_ &&
           (headers_.has_value() || written_ || (reading_ && !in_.empty()) ||
            (end_.has_value() && in_.empty()));
  }
  void Step();
  // Ends it on this side; nothing that has come counts any more.
  void Break(absl::Status status);
  // Takes it from where it waits or goes on.
  void Unbind(bool cancel);

  const std::shared_ptr<SimChannel> channel_;
  Loop& loop_;
  CallStart start_;
  ClientWireEvents* events_;  // nullptr once abandoned
  Soon soon_;
  ClientLink* link_ = nullptr;  // while it is open there
  uint32_t id_ = 0;
  // What goes.
  std::optional<std::string> out_;
  bool write_owed_ = false;  // `out_` is to be told of
  bool half_close_ = false;
  int64_t credit_ = kWindow;
  // What has come.
  std::optional<Metadata> headers_;
  Inflow in_;
  bool reading_;
  bool written_ = false;
  std::optional<End> end_;
  bool ended_ = false;
  bool busy_ = false;
};

class ClientLink final : public Link, private Timer {
 public:
  ClientLink(SimChannel& channel, std::shared_ptr<Kernel> kernel,
             std::shared_ptr<SimSocket> socket);
  ~ClientLink();

  bool ready() const { return ready_; }
  // Takes no more calls, and goes when it has none.
  bool draining() const { return draining_; }
  void Begin(SimClientCall& call) {
    const uint32_t id = ++last_id_;
    calls_.emplace(id, &call);
    call.Bind(*this, id);
    if (!armed()) ArmKeepalive();
  }
  void Forget(uint32_t id) {
    calls_.erase(id);
    Schedule();
  }
  void FailCalls(const absl::Status& status) {
    while (!calls_.empty()) {
      SimClientCall* call = calls_.begin()->second;
      calls_.erase(calls_.begin());
      call->Fail(status);
    }
  }

 private:
  void OnHello() override;
  bool OnFrame(FrameType type, uint32_t call, std::string payload) override;
  void OnTooLarge(FrameType type, uint32_t call, size_t size) override;
  void OnWorked() override;
  void OnLost(std::string_view why) override;
  void ArmKeepalive();
  void OnTimer();

  SimChannel& channel_;
  Loop& loop_;
  bool ready_ = false;
  bool draining_ = false;
  uint32_t last_id_ = 0;
  std::map<uint32_t, SimClientCall*> calls_;
  Time heard_;
  std::optional<Time> pinged_;
};

class SimChannel final : public ClientTransport,
                         public std::enable_shared_from_this<SimChannel>,
                         private LoopBound,
                         private Timer {
 public:
  SimChannel(std::string target, const ChannelOptions& options,
             SimBackend& backend)
      : Timer([](Timer& timer) { static_cast<SimChannel&>(timer).OnTimer(); }),
        target_(std::move(target)),
        tls_(options.tls.has_value()),
        max_reply_bytes_(options.max_reply_bytes),
        keepalive_(options.keepalive),
        kernel_(backend.machine().kernel()->shared_from_this()),
        host_(backend.shared_host()),
        loop_(&Loop::Current()),
        soon_([this] { Work(); }),
        alive_(std::make_shared<SimChannel*>(this)) {}
  ~SimChannel() override {
    *alive_ = nullptr;
    if (loop_ != nullptr) loop_->timers().Remove(*this);
  }

  ClientWire* Start(CallStart start, ClientWireEvents& events) override {
    auto* call =
        new SimClientCall(shared_from_this(), std::move(start), events);
    Place(*call);
    return call;
  }
  bool connected() const override { return link_ != nullptr && link_->ready(); }

  void Withdraw(SimClientCall& call) { waiting_.Remove(call); }
  size_t max_reply_bytes() const { return max_reply_bytes_; }
  const Delay& keepalive() const { return keepalive_; }

  // From its connections.
  void Ready();
  // No more calls are for this one.
  void Drains(ClientLink& link);
  void Gone(ClientLink& link, const absl::Status& why);

 private:
  enum class State : uint8_t { kIdle, kResolving, kConnecting, kReady };

  void Place(SimClientCall& call);
  // Does what is needed for the calls that wait.
  void Work();
  void Connect();
  // Connects to the next address. `why` there is none.
  void TryNext(absl::Status why);
  void AttemptFailed(const absl::Status& why);
  void OnTimer();
  void FailWaiting(const absl::Status& status, bool all);
  void Arm(Time when) {
    loop_->timers().Remove(*this);
    loop_->timers().Add(*this, when);
  }
  void LoopEnds() override;

  const std::string target_;
  const bool tls_;
  const size_t max_reply_bytes_;
  const Delay keepalive_;
  const std::shared_ptr<Kernel> kernel_;
  const std::shared_ptr<Host> host_;
  Loop* loop_;
  Soon soon_;
  // For look-ups that are answered when it has gone.
  const std::shared_ptr<SimChannel*> alive_;
  State state_ = State::kIdle;
  std::optional<Host::LookupResult> found_;
  IntrusiveList<SimClientCall> waiting_;
  std::vector<SocketAddress> addresses_;
  size_t next_address_ = 0;
  std::unique_ptr<ClientLink> link_;
  std::vector<std::unique_ptr<ClientLink>> draining_;
  Time begun_{};  // the latest attempt
  // After a failed one.
  absl::Status last_error_;
  Duration backoff_ = Duration::zero();
  Time retry_at_{};
};

// --- A call ---

SimClientCall::SimClientCall(std::shared_ptr<SimChannel> channel,
                             CallStart start, ClientWireEvents& events)
    : Timer([](Timer& timer) {
        static_cast<SimClientCall&>(timer).Break(
            absl::DeadlineExceededError("the call's deadline passed"));
      }),
      channel_(std::move(channel)),
      loop_(Loop::Current()),
      start_(std::move(start)),
      events_(&events),
      soon_([this] { Step(); }),
      // The only reply is read unasked.
      reading_(!ServerStreams(start_.method->kind())) {
  loop_.Hold();
  if (start_.message.has_value()) {
    out_ = *std::move(start_.message);
    half_close_ = true;
  }
  if (start_.deadline != kNever) loop_.timers().Add(*this, start_.deadline);
}

void SimClientCall::Bind(ClientLink& link, uint32_t id) {
  link_ = &link;
  id_ = id;
  sim::Begin begin;
  begin.set_path(std::string(start_.method->path()));
  if (start_.deadline != kNever) {
    begin.set_timeout_ns(
        std::max<int64_t>(1, (start_.deadline - loop_.Now()).count()));
  }
  ToEntries(start_.metadata, *begin.mutable_metadata());
  link_->Send(FrameType::kBegin, id_, begin);
  Pump();
}

void SimClientCall::Pump() {
  if (link_ == nullptr || end_.has_value()) return;
  if (out_.has_value()) {
    if (credit_ <= 0 || !link_->roomy()) return;
    credit_ -= CostOf(*out_);
    link_->Send(FrameType::kMessage, id_, *out_);
    out_.reset();
    if (std::exchange(write_owed_, false)) {
      written_ = true;
      soon_.Schedule();
    }
  }
  if (std::exchange(half_close_, false)) {
    link_->Send(FrameType::kHalfClose, id_);
  }
}

bool SimClientCall::OnFrame(FrameType type, std::string payload) {
  switch (type) {
    case FrameType::kHeaders: {
      sim::Headers headers;
      if (!headers.ParseFromString(payload)) return false;
      headers_ = FromEntries(headers.metadata());
      break;
    }
    case FrameType::kMessage:
      // A single reply needs no credit.
      if (ServerStreams(start_.method->kind()) && !in_.has_credit())
        return false;
      in_.Push(std::move(payload));
      break;
    case FrameType::kEnd: {
      sim::End end;
      if (!end.ParseFromString(payload)) return false;
      Unbind(/*cancel=*/false);
      end_.emplace(MakeStatus(end.code(), end.message(), end.details()),
                   FromEntries(end.trailers()));
      break;
    }
    case FrameType::kCredit: {
      const int64_t bytes = CreditIn(payload);
      if (bytes < 0) return false;
      credit_ += bytes;
      Pump();
      return true;
    }
    default:
      return false;
  }
  if (HasNews()) soon_.Schedule();
  return true;
}

void SimClientCall::OnTooLarge(FrameType type, size_t size) {
  Unbind(/*cancel=*/true);
  Fail(absl::ResourceExhaustedError(
      absl::StrCat(type == FrameType::kMessage ? "a reply" : "the metadata",
                   " of ", size, " bytes is larger than the client's limit")));
}

void SimClientCall::Unbind(bool cancel) {
  if (linked()) channel_->Withdraw(*this);
  if (link_ == nullptr) return;
  if (cancel) link_->Send(FrameType::kCancel, id_);
  std::exchange(link_, nullptr)->Forget(id_);
}

void SimClientCall::Fail(absl::Status status) {
  link_ = nullptr;
  if (end_.has_value() || ended_) return;
  end_.emplace(std::move(status), Metadata());
  if (HasNews()) soon_.Schedule();
}

void SimClientCall::Break(absl::Status status) {
  if (ended_) return;
  Unbind(/*cancel=*/true);
  in_.Clear();
  headers_.reset();
  written_ = false;
  end_.emplace(std::move(status), Metadata());
  soon_.Schedule();
}

void SimClientCall::Step() {
  busy_ = true;
  if (headers_.has_value() && events_ != nullptr) {
    events_->OnHeaders(*std::exchange(headers_, std::nullopt));
  }
  if (events_ != nullptr && reading_ && !in_.empty()) {
    reading_ = false;
    events_->OnRead(in_.Pop(link_, id_));
  }
  if (events_ != nullptr && std::exchange(written_, false)) {
    events_->OnWritten(true);
  }
  if (events_ != nullptr && !ended_ && end_.has_value() && in_.empty()) {
    ended_ = true;
    loop_.timers().Remove(*this);
    events_->OnEnd(std::move(end_->status), std::move(end_->trailers));
  }
  busy_ = false;
  if (events_ == nullptr) {
    delete this;
  } else if (HasNews()) {
    soon_.Schedule();
  }
}

void SimClientCall::Abandon() {
  events_ = nullptr;
  ended_ = true;
  loop_.timers().Remove(*this);
  Unbind(/*cancel=*/true);
  if (!busy_) delete this;
}

// --- A connection ---

ClientLink::ClientLink(SimChannel& channel, std::shared_ptr<Kernel> kernel,
                       std::shared_ptr<SimSocket> socket)
    : Link(std::move(kernel), std::move(socket), channel.max_reply_bytes()),
      Timer([](Timer& timer) { static_cast<ClientLink&>(timer).OnTimer(); }),
      channel_(channel),
      loop_(Loop::Current()),
      heard_(loop_.Now()) {}

ClientLink::~ClientLink() { loop_.timers().Remove(*this); }

void ClientLink::OnHello() {
  ready_ = true;
  channel_.Ready();
}

bool ClientLink::OnFrame(FrameType type, uint32_t id, std::string payload) {
  heard_ = loop_.Now();
  if (type == FrameType::kPong) {
    pinged_.reset();
    return true;
  }
  if (type == FrameType::kGoAway) {
    draining_ = true;
    return true;
  }
  if (id == 0 || id > last_id_) return false;
  const auto call = calls_.find(id);
  // One that was cancelled; the server has not heard of that yet.
  if (call == calls_.end()) return true;
  return call->second->OnFrame(type, std::move(payload));
}

void ClientLink::OnTooLarge(FrameType type, uint32_t id, size_t size) {
  if (const auto call = calls_.find(id); call != calls_.end()) {
    call->second->OnTooLarge(type, size);
  }
}

void ClientLink::OnWorked() {
  for (auto call = calls_.begin(); call != calls_.end() && roomy(); ++call) {
    call->second->Pump();
  }
  if (calls_.empty()) loop_.timers().Remove(*this);
  if (!draining_) return;
  if (calls_.empty() && flushed()) {
    channel_.Gone(*this, absl::UnavailableError("the server goes away"));
  } else {
    channel_.Drains(*this);
  }
}

void ClientLink::OnLost(std::string_view why) {
  const absl::Status status = absl::UnavailableError(
      absl::StrCat(ready_ ? "the connection to " : "can't connect to ",
                   peer().Unmapped().ToString(), ready_ ? " was lost: " : ": ",
                   absl::string_view(why.data(), why.size())));
  FailCalls(status);
  channel_.Gone(*this, status);
}

void ClientLink::ArmKeepalive() {
  if (channel_.keepalive().is_infinite() || calls_.empty()) return;
  loop_.timers().Add(
      *this, pinged_.has_value()
                 ? braid::detail::Add(*pinged_, kPingLimit)
                 : braid::detail::Add(std::max(heard_, loop_.Now()),
                                      channel_.keepalive().nanoseconds()));
}

void ClientLink::OnTimer() {
  const Time now = loop_.Now();
  if (pinged_.has_value() && heard_ <= *pinged_ &&
      now >= braid::detail::Add(*pinged_, kPingLimit)) {
    return OnLost("no answer to a ping (keepalive)");
  }
  pinged_.reset();
  if (now >= braid::detail::Add(heard_, channel_.keepalive().nanoseconds())) {
    pinged_ = now;
    Send(FrameType::kPing, 0);
  }
  ArmKeepalive();
}

// --- The channel ---

void SimChannel::Place(SimClientCall& call) {
  if (loop_ == nullptr) {
    return call.Fail(absl::UnavailableError(
        "the channel was made on a loop that has ended"));
  }
  if (state_ == State::kReady && !link_->draining()) return link_->Begin(call);
  waiting_.PushBack(call);
  soon_.Schedule();
}

void SimChannel::FailWaiting(const absl::Status& status, bool all) {
  IntrusiveList<SimClientCall> stay;
  while (SimClientCall* call = waiting_.PopFront()) {
    if (!all && call->wait_for_ready()) {
      stay.PushBack(*call);
    } else {
      call->Fail(status);
    }
  }
  while (SimClientCall* call = stay.PopFront()) waiting_.PushBack(*call);
}

void SimChannel::Work() {
  if (loop_ == nullptr) return;
  if (state_ == State::kResolving) {
    if (!found_.has_value()) return;
    const Host::LookupResult found = *std::exchange(found_, std::nullopt);
    if (!found.ok()) return AttemptFailed(found.status());
    addresses_ = *found;
    return TryNext(absl::UnavailableError("the name has no address"));
  }
  if (waiting_.empty()) return;
  if (state_ == State::kReady) return Ready();
  if (state_ == State::kConnecting) return;
  if (tls_) {
    return FailWaiting(
        absl::UnimplementedError(
            "the simulation has no TLS; leave ChannelOptions::tls empty there"),
        /*all=*/true);
  }
  if (loop_->Now() < retry_at_) {
    FailWaiting(last_error_, /*all=*/false);
    if (!waiting_.empty()) Arm(retry_at_);
    return;
  }
  Connect();
}

void SimChannel::Connect() {
  begun_ = loop_->Now();
  next_address_ = 0;
  std::string_view name = target_;
  for (const std::string_view scheme : {"dns:///", "dns:", "ipv4:", "ipv6:"}) {
    if (!name.starts_with(scheme)) continue;
    name.remove_prefix(scheme.size());
    break;
  }
  if (const absl::StatusOr<SocketAddress> address = SocketAddress::Parse(name);
      address.ok()) {
    addresses_ = {*address};
    return TryNext(absl::OkStatus());
  }
  const size_t colon = name.rfind(':');
  if (colon == name.npos || colon == 0 || name.starts_with("unix")) {
    return AttemptFailed(absl::InvalidArgumentError(
        "in the simulation a target is host:port, or an address and a port"));
  }
  state_ = State::kResolving;
  // Answered between two turns, or when nobody asks any more.
  host_->Lookup(std::string(name.substr(0, colon)),
                std::string(name.substr(colon + 1)),
                [alive = alive_](Host::LookupResult found) {
                  SimChannel* self = *alive;
                  if (self == nullptr || self->loop_ == nullptr) return;
                  self->found_.emplace(std::move(found));
                  self->soon_.Schedule();
                });
}

void SimChannel::TryNext(absl::Status why) {
  while (next_address_ < addresses_.size()) {
    const SocketAddress& address = addresses_[next_address_++];
    SocketRequest request;
    request.kind = IoKind::kTcpStream;
    request.peer = address;
    absl::StatusOr<std::shared_ptr<SimSocket>> socket = kernel_->Open(request);
    if (!socket.ok()) {
      why = socket.status();
      continue;
    }
    if (const int error = kernel_->ConnectTcp(**socket, address); error != 0) {
      kernel_->Close(**socket);
      why = ErrnoStatus(error, "connect to " + address.ToString());
      continue;
    }
    state_ = State::kConnecting;
    link_ = std::make_unique<ClientLink>(*this, kernel_, *std::move(socket));
    Arm(braid::detail::Add(loop_->Now(), kConnectLimit));
    kernel_->Flush();
    return;
  }
  AttemptFailed(why);
}

void SimChannel::AttemptFailed(const absl::Status& why) {
  state_ = State::kIdle;
  last_error_ = absl::UnavailableError(
      absl::StrCat("can't reach ", target_, ": ", std::string(why.message())));
  backoff_ =
      backoff_ == Duration::zero()
          ? kFirstBackoff
          : std::min(kLongestBackoff, std::chrono::duration_cast<Duration>(
                                          backoff_ * kBackoffGrows));
  // From 1 - kBackoffJitter to 1 + kBackoffJitter.
  const double part = static_cast<double>(host_->Random() >> 11) * 0x1p-53;
  retry_at_ = braid::detail::Add(
      begun_, std::chrono::duration_cast<Duration>(
                  backoff_ * (1 + kBackoffJitter * (2 * part - 1))));
  loop_->timers().Remove(*this);
  FailWaiting(last_error_, /*all=*/false);
  if (!waiting_.empty()) Arm(std::max(retry_at_, loop_->Now()));
}

void SimChannel::OnTimer() {
  if (state_ != State::kConnecting) return Work();
  link_.reset();
  TryNext(absl::DeadlineExceededError("no answer within 20 s"));
}

void SimChannel::Ready() {
  if (state_ != State::kReady) {
    state_ = State::kReady;
    loop_->timers().Remove(*this);
    backoff_ = Duration::zero();
    retry_at_ = {};
  }
  while (SimClientCall* call = waiting_.PopFront()) link_->Begin(*call);
}

void SimChannel::Drains(ClientLink& link) {
  if (link_.get() != &link) return;
  draining_.push_back(std::move(link_));
  state_ = State::kIdle;
  if (!waiting_.empty()) soon_.Schedule();
}

void SimChannel::Gone(ClientLink& link, const absl::Status& why) {
  if (link_.get() != &link) {
    std::erase_if(draining_,
                  [&](const auto& one) { return one.get() == &link; });
    return;
  }
  const bool connecting = state_ == State::kConnecting;
  link_.reset();
  state_ = State::kIdle;
  if (connecting) return TryNext(why);
  if (!waiting_.empty()) soon_.Schedule();
}

void SimChannel::LoopEnds() {
  link_.reset();
  draining_.clear();
  loop_->timers().Remove(*this);
  soon_.Forget();
  loop_ = nullptr;
}

}  // namespace

std::shared_ptr<ClientTransport> MakeSimClientTransport(
    const std::string& target, const ChannelOptions& options,
    SimBackend& backend) {
  return std::make_shared<SimChannel>(target, options, backend);
}

}  // namespace braid::rpc::detail
