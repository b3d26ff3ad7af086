#include "braid/rpc/testing/memory_transport.h"

#include <deque>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "braid/core/detail/intrusive_list.h"
#include "braid/core/detail/loop.h"
#include "braid/core/detail/timer_queue.h"
#include "braid/rpc/detail/until.h"

namespace braid::rpc {
namespace {

using braid::detail::Check;
using braid::detail::InboxNode;
using braid::detail::IntrusiveList;
using braid::detail::IntrusiveListNode;
using braid::detail::Loop;
using braid::detail::Timer;

class MemoryCall;

}  // namespace

class MemoryTransport::State {
 public:
  explicit State(Options options) : options(options) {}
  ~State() { Check(calls == 0, "a MemoryTransport goes while calls exist"); }

  void Served() {
    --served;
    idle.Look();
  }

  const Options options;
  CallAcceptor* acceptor = nullptr;
  bool accepting = false;
  bool started = false;
  IntrusiveList<MemoryCall> waiting;  // for the server's start
  size_t calls = 0;
  size_t served = 0;  // on the server's side
  detail::Until idle{[this] { return served == 0; }};
};

namespace {

// One direction of a call.
struct Direction {
  std::deque<std::string> messages;  // written, not read
  bool closed = false;               // no more will be written
  bool reading = false;
  bool writing = false;
};

// Both wires of one call. Whatever one side does marks the state and posts a
// step; the step, on the loop, tells both sides what follows from it.
class MemoryCall final : public IntrusiveListNode,
                         private InboxNode,
                         private Timer {
 public:
  using State = MemoryTransport::State;

  MemoryCall(std::shared_ptr<State> state, CallStart start,
             ClientWireEvents& events)
      : InboxNode(
            [](InboxNode& node) { static_cast<MemoryCall&>(node).Step(); }),
        Timer([](Timer& timer) { static_cast<MemoryCall&>(timer).Step(); }),
        state_(std::move(state)),
        loop_(Loop::Current()),
        start_(std::move(start)),
        client_(this),
        server_(this),
        deadline_(this),
        client_events_(&events) {
    ++state_->calls;
    loop_.Hold();
    // What the transport does unasked.
    down_.reading = !ServerStreams(start_.method->kind());
    if (start_.message.has_value()) {
      up_.messages.push_back(*std::move(start_.message));
      up_.closed = true;
    }
    if (start_.deadline != kNever) {
      loop_.timers().Add(deadline_, start_.deadline);
    }
    Schedule();
  }

  ClientWire* client() { return &client_; }

  // The server has started.
  void Begin() { Schedule(); }

 private:
  class Client final : public ClientWire {
   public:
    explicit Client(MemoryCall* call) : call_(call) {}
    void Read() override {
      call_->down_.reading = true;
      call_->Schedule();
    }
    void Write(std::string message) override {
      call_->Put(call_->up_, std::move(message));
    }
    void HalfClose() override {
      call_->up_.closed = true;
      call_->Schedule();
    }
    void Cancel() override {
      call_->Break(absl::CancelledError("the call was cancelled"));
    }
    void Abandon() override {
      call_->client_events_ = nullptr;
      if (!call_->client_ended_) {
        call_->client_ended_ = true;
        call_->Break(absl::CancelledError("the call was cancelled"));
      }
      call_->Schedule();
    }

   private:
    MemoryCall* call_;
  };

  class Server final : public ServerWire {
   public:
    explicit Server(MemoryCall* call) : call_(call) {}
    std::string_view path() const override {
      return call_->start_.method->path();
    }
    const Metadata& metadata() const override { return call_->start_.metadata; }
    std::string peer() const override { return "memory"; }
    std::vector<std::string> peer_identity() const override { return {}; }
    Time deadline() const override { return call_->start_.deadline; }

    void Read() override {
      call_->up_.reading = true;
      call_->Schedule();
    }
    void Write(std::string message) override {
      call_->headers_sent_ = true;
      call_->Put(call_->down_, std::move(message));
    }
    void SetHeaders(const Metadata& headers) override {
      call_->headers_ = headers;
    }
    void SendHeaders() override {
      call_->headers_sent_ = true;
      call_->Schedule();
    }
    void Finish(std::optional<std::string> message, const absl::Status& status,
                const Metadata& trailers) override {
      call_->server_finished_ = true;
      call_->headers_sent_ = true;
      if (call_->end_ == nullptr) {
        if (message.has_value()) {
          call_->down_.messages.push_back(*std::move(message));
        }
        call_->end_ = std::make_unique<End>(status, trailers);
      }
      call_->Schedule();
    }
    void Abort() override {
      call_->Break(absl::CancelledError("the server broke the call off"));
    }

   private:
    MemoryCall* call_;
  };

  class Deadline final : public Timer {
   public:
    explicit Deadline(MemoryCall* call)
        : Timer([](Timer& timer) {
            auto* self = static_cast<Deadline*>(&timer);
            self->call_->Break(
                absl::DeadlineExceededError("the call's deadline passed"));
          }),
          call_(call) {}

   private:
    MemoryCall* call_;
  };

  struct End {
    End(absl::Status status, Metadata trailers)
        : status(std::move(status)), trailers(std::move(trailers)) {}
    absl::Status status;
    Metadata trailers;
  };

  ~MemoryCall() {
    loop_.timers().Remove(deadline_);
    --state_->calls;
    loop_.Release();
  }

  void Put(Direction& direction, std::string message) {
    direction.messages.push_back(std::move(message));
    direction.writing = true;
    Schedule();
  }

  // The call ends by neither side's doing as it should: what is on its way is
  // lost.
  void Break(absl::Status status) {
    if (!broken_ && (end_ == nullptr || !client_ended_)) {
      broken_ = true;
      end_ = std::make_unique<End>(std::move(status), Metadata());
      up_.messages.clear();
      down_.messages.clear();
    }
    Schedule();
  }

  void Schedule() {
    if (scheduled_) return;
    scheduled_ = true;
    if (state_->options.latency > Duration::zero()) {
      loop_.timers().Add(
          static_cast<Timer&>(*this),
          braid::detail::Add(loop_.Now(), state_->options.latency));
    } else {
      loop_.Post(this);
    }
  }

  void Step() {
    scheduled_ = false;
    if (broken_ && linked()) state_->waiting.Remove(*this);
    StepServer();
    StepClient();
    const bool server_gone = !served_ || server_finished_;
    if (client_events_ == nullptr && client_ended_ && server_gone &&
        !scheduled_ && !linked()) {
      delete this;
    }
  }

  void Arrive() {
    if (end_ != nullptr || !state_->accepting) {
      if (end_ == nullptr) {
        Break(absl::UnavailableError("nobody listens"));
      }
      return;
    }
    if (!state_->started) {
      if (!linked()) state_->waiting.PushBack(*this);
      return;
    }
    if (state_->served >= state_->options.max_concurrent_calls) {
      Break(absl::ResourceExhaustedError("the server has too many calls"));
      state_->acceptor->OnRejected(1);
      return;
    }
    served_ = true;
    ++state_->served;
    if (const Method* method = state_->acceptor->FindMethod(server_.path());
        method != nullptr && !ClientStreams(method->kind())) {
      up_.reading = true;
    }
    server_events_ = state_->acceptor->OnCall(server_);
  }

  void StepServer() {
    if (!served_) Arrive();
    if (!served_) return;
    if (!server_finished_) {
      if (broken_) {
        if (!std::exchange(server_told_, true)) server_events_->OnCancelled();
        if (!server_finished_ && std::exchange(down_.writing, false)) {
          server_events_->OnWritten(false);
        }
      } else {
        if (up_.reading && (!up_.messages.empty() || up_.closed)) {
          Deliver(up_, state_->options.max_request_bytes, *server_events_);
        }
        if (!server_finished_ && down_.writing &&
            down_.messages.size() <= state_->options.window) {
          down_.writing = false;
          server_events_->OnWritten(true);
        }
      }
    }
    if (server_finished_ && !std::exchange(server_left_, true)) {
      state_->Served();
    }
  }

  void StepClient() {
    if (client_ended_) return;
    if (headers_sent_ && !std::exchange(headers_told_, true)) {
      client_events_->OnHeaders(headers_);
    }
    if (!client_ended_ && down_.reading && !down_.messages.empty()) {
      Deliver(down_, state_->options.max_reply_bytes, *client_events_);
    }
    if (!client_ended_ && end_ == nullptr && up_.writing &&
        up_.messages.size() <= state_->options.window) {
      up_.writing = false;
      client_events_->OnWritten(true);
    }
    if (!client_ended_ && end_ != nullptr && down_.messages.empty()) {
      client_ended_ = true;
      loop_.timers().Remove(deadline_);
      client_events_->OnEnd(end_->status, end_->trailers);
    }
  }

  void Deliver(Direction& direction, size_t limit, WireEvents& events) {
    if (direction.messages.empty()) {
      direction.reading = false;
      events.OnRead(std::nullopt);
      return;
    }
    if (direction.messages.front().size() > limit) {
      Break(absl::ResourceExhaustedError(
          absl::StrCat("a message of ", direction.messages.front().size(),
                       " bytes is larger than the limit of ", limit)));
      return;
    }
    direction.reading = false;
    std::string message = std::move(direction.messages.front());
    direction.messages.pop_front();
    // The writer may go on.
    Schedule();
    events.OnRead(std::move(message));
  }

  const std::shared_ptr<State> state_;
  Loop& loop_;
  CallStart start_;
  Client client_;
  Server server_;
  Deadline deadline_;
  ClientWireEvents* client_events_;  // nullptr once abandoned
  ServerWireEvents* server_events_ = nullptr;
  Direction up_;    // to the server
  Direction down_;  // to the client
  Metadata headers_;
  std::unique_ptr<End> end_;
  bool scheduled_ = false;
  bool served_ = false;           // the server has taken it
  bool server_told_ = false;      // that it is cancelled
  bool server_finished_ = false;  // it has given up its wire
  bool server_left_ = false;      // and was counted
  bool headers_sent_ = false;
  bool headers_told_ = false;
  bool broken_ = false;
  bool client_ended_ = false;  // it was told the end, or has abandoned
};

class MemoryServer final : public ServerTransport {
 public:
  using State = MemoryTransport::State;

  explicit MemoryServer(std::shared_ptr<State> state)
      : state_(std::move(state)) {}
  ~MemoryServer() override { StopAccepting(); }

  absl::StatusOr<std::vector<int>> Listen(CallAcceptor& acceptor) override {
    if (state_->acceptor != nullptr) {
      return absl::UnavailableError(
          "this MemoryTransport has had its server; make another");
    }
    state_->acceptor = &acceptor;
    state_->accepting = true;
    return std::vector<int>{0};
  }
  void Start() override {
    state_->started = true;
    BeginWaiting();
  }
  void StopAccepting() override {
    state_->accepting = false;
    BeginWaiting();
  }
  Task<void> Join() override { co_await state_->idle.Wait(); }

 private:
  void BeginWaiting() {
    while (MemoryCall* call = state_->waiting.PopFront()) call->Begin();
  }

  std::shared_ptr<State> state_;
};

class MemoryClient final : public ClientTransport {
 public:
  using State = MemoryTransport::State;

  explicit MemoryClient(std::shared_ptr<State> state)
      : state_(std::move(state)) {}

  ClientWire* Start(CallStart start, ClientWireEvents& events) override {
    return (new MemoryCall(state_, std::move(start), events))->client();
  }

 private:
  std::shared_ptr<State> state_;
};

}  // namespace

MemoryTransport::MemoryTransport(Options options)
    : state_(std::make_shared<State>(options)) {}
MemoryTransport::~MemoryTransport() = default;

std::shared_ptr<ServerTransport> MemoryTransport::server() {
  return std::make_shared<MemoryServer>(state_);
}
std::shared_ptr<ClientTransport> MemoryTransport::client() {
  return std::make_shared<MemoryClient>(state_);
}
size_t MemoryTransport::calls() const { return state_->calls; }

}  // namespace braid::rpc
