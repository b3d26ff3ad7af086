// Servers over gRPC's generic asynchronous service: implements
// detail/make_transport.h.
//
// Connections are taken by a task, not by gRPC: gRPC 1.51 stops listening for
// good when accept fails for want of descriptors. What isn't an IP address (a
// Unix socket) is left to it.
//
// A call is one object with two owners: gRPC, for each operation under way and
// for word of the call's end; the loop, from the call's arrival to Finish. It
// goes with the last of them, on whichever thread that is.
#include <fcntl.h>
#include <grpc/grpc.h>
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <algorithm>
#include <atomic>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "braid/backend/signal_mask.h"
#include "braid/core/detail/loop.h"
#include "braid/core/sleep.h"
#include "braid/core/task_group.h"
#include "braid/core/timeout.h"
#include "braid/net/tcp.h"
#include "braid/rpc/detail/make_transport.h"
#include "braid/rpc/detail/until.h"
#include "braid/rpc/grpc/completion_thread.h"
#include "braid/rpc/grpc/convert.h"
#include "braid/rpc/server.h"
#include "braid/rpc/transport.h"

namespace braid::rpc::detail {
namespace {

using braid::detail::Check;
using braid::detail::Loop;

// Calls that gRPC may hand out before the thread has asked for more.
constexpr int kAsked = 64;
// For answers that are on their way to clients that don't read, at the end.
constexpr Duration kLinger = std::chrono::seconds(1);
// After an error of a listener.
constexpr Duration kAfterError = std::chrono::milliseconds(100);

// Whether `address`, which isn't a numeric one with a port, says where to
// listen. Of a host alone gRPC would take port 443.
bool SaysWhere(std::string_view address) {
  for (const std::string_view scheme :
       {"unix:", "unix-abstract:", "dns:", "ipv4:", "ipv6:", "vsock:"}) {
    if (address.starts_with(scheme)) return true;
  }
  const size_t host =
      address.starts_with('[') ? address.find(']') + 1 : address.find(':');
  return host < address.size() && address[host] == ':' &&
         address.rfind(':') == host && host + 1 < address.size();
}

class GrpcServer;

class GrpcServerCall final : public ServerWire {
 public:
  // Asks for a call.
  explicit GrpcServerCall(GrpcServer& server);

  std::string_view path() const override { return context_.method(); }
  const Metadata& metadata() const override {
    if (!metadata_.has_value()) {
      metadata_ = FromGrpc(context_.client_metadata());
    }
    return *metadata_;
  }
  std::string peer() const override { return context_.peer(); }
  std::vector<std::string> peer_identity() const override;
  Time deadline() const override {
    return FromGrpcDeadline(context_.raw_deadline(), Loop::Current());
  }

  void Read() override;
  void Write(std::string message) override;
  void SetHeaders(const Metadata& headers) override;
  void SendHeaders() override;
  void Finish(std::optional<std::string> message, const absl::Status& status,
              const Metadata& trailers) override;
  void Abort() override { context_.TryCancel(); }

 private:
  using Base = CompletionThread::Event;
  // An operation of this call.
  template <bool (GrpcServerCall::*on_thread)(bool ok),
            void (GrpcServerCall::*on_loop)()>
  class Event final : public Base {
   public:
    explicit Event(GrpcServerCall* call)
        : Base(
              [](Base& event, bool ok) {
                return (static_cast<Event&>(event).call_->*on_thread)(ok);
              },
              [](Base& event) {
                (static_cast<Event&>(event).call_->*on_loop)();
              }),
          call_(call) {}

   private:
    GrpcServerCall* call_;
  };

  bool Arrived(bool ok);
  void Rejected();
  void Begin();
  bool ReadDone(bool ok);
  void OnReadDone();
  bool WriteDone(bool ok);
  void OnWriteDone();
  bool JustDone(bool);
  void Nothing() {}
  bool CallDone(bool ok);
  void OnCancelled();

  void Ref() { references_.fetch_add(1, std::memory_order_relaxed); }
  void Unref() {
    if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }

  GrpcServer& server_;
  grpc::GenericServerContext context_;
  grpc::GenericServerAsyncReaderWriter stream_;
  grpc::ByteBuffer in_;
  std::atomic<int> references_ = 1;
  // The loop's.
  ServerWireEvents* events_ = nullptr;
  mutable std::optional<Metadata> metadata_;
  bool finished_ = false;
  bool cancelled_ = false;
  // Told by the thread to the loop.
  bool begin_with_read_ = false;
  bool rejected_ = false;
  bool read_ok_ = false;
  bool write_ok_ = false;

  Event<&GrpcServerCall::Arrived, &GrpcServerCall::Begin> arrived_{this};
  Event<&GrpcServerCall::ReadDone, &GrpcServerCall::OnReadDone> read_{this};
  Event<&GrpcServerCall::WriteDone, &GrpcServerCall::OnWriteDone> write_{this};
  Event<&GrpcServerCall::JustDone, &GrpcServerCall::Nothing> headers_{this};
  Event<&GrpcServerCall::JustDone, &GrpcServerCall::Nothing> finish_{this};
  Event<&GrpcServerCall::CallDone, &GrpcServerCall::OnCancelled> done_{this};
};

class GrpcServer final : public ServerTransport {
 public:
  explicit GrpcServer(const ServerOptions& options)
      : listen_(options.listen),
        tls_(options.tls),
        reuse_port_(options.reuse_port),
        max_request_bytes_(options.max_request_bytes),
        max_calls_(options.max_concurrent_calls) {}
  ~GrpcServer() override;

  absl::StatusOr<std::vector<int>> Listen(CallAcceptor& acceptor) override;
  void Start() override;
  Task<void> Accept() override;
  void StopAccepting() override;
  Task<void> Join() override;

  // Asks gRPC for one more call, unless the server is about to end. From any
  // thread.
  void Ask() {
    const std::lock_guard lock(asking_);
    if (!stopping_) new GrpcServerCall(*this);
  }
  // False: the limit is reached.
  bool Admit() {
    if (active_.fetch_add(1, std::memory_order_relaxed) < max_calls_) {
      return true;
    }
    active_.fetch_sub(1, std::memory_order_relaxed);
    return false;
  }
  void Leave() { active_.fetch_sub(1, std::memory_order_relaxed); }

  // A call may begin operations on the queue from Hold to Release. The last one
  // to go, after gRPC has said that no more will come, ends the queue.
  void Hold() { holds_.fetch_add(1, std::memory_order_relaxed); }
  void Release() {
    if (holds_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      thread_->Shutdown();
    }
  }

  CallAcceptor& acceptor() { return *acceptor_; }
  grpc::AsyncGenericService& service() { return service_; }
  grpc::ServerCompletionQueue* queue() { return queue_; }

 private:
  class End final : public CompletionThread::Event {
   public:
    explicit End(GrpcServer* server)
        : Event(
              [](Event&, bool) { return true; },
              [](Event& event) { static_cast<End&>(event).server_->OnEnd(); }),
          server_(server) {}

   private:
    GrpcServer* server_;
  };

  std::shared_ptr<grpc::ServerCredentials> Credentials() const;
  Task<void> AcceptFrom(TcpListener& listener);
  void OnEnd();

  const std::vector<std::string> listen_;
  const std::optional<ServerTls> tls_;
  const bool reuse_port_;
  const size_t max_request_bytes_;
  const size_t max_calls_;
  CallAcceptor* acceptor_ = nullptr;
  grpc::AsyncGenericService service_;
  std::vector<TcpListener> listeners_;
  // Where their connections go.
  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> connections_;
  std::unique_ptr<grpc::Server> server_;
  // Owned by `unstarted_`, then by `thread_`.
  grpc::ServerCompletionQueue* queue_ = nullptr;
  std::unique_ptr<grpc::ServerCompletionQueue> unstarted_;
  std::atomic<size_t> active_ = 0;
  std::atomic<size_t> holds_ = 1;  // one is gRPC's
  std::mutex asking_;
  bool stopping_ = false;  // guarded by asking_
  End end_{this};
  std::unique_ptr<CompletionThread> thread_;
  // Waits in grpc::Server::Shutdown.
  std::thread shutdown_;  // lint: allow(thread): gRPC blocks there
  bool ended_ = false;
  Until joined_{[this] { return ended_; }};
};

// --- A call ---

GrpcServerCall::GrpcServerCall(GrpcServer& server)
    : server_(server), stream_(&context_) {
  server.Hold();
  context_.AsyncNotifyWhenDone(done_.tag());
  server.service().RequestCall(&context_, &stream_, server.queue(),
                               server.queue(), arrived_.tag());
}

bool GrpcServerCall::Arrived(bool ok) {
  if (!ok) {  // the server ends; word of the call's end doesn't come then
    server_.Release();
    Unref();
    return false;
  }
  Ref();  // for done_
  server_.Ask();
  if (!server_.Admit()) {
    rejected_ = true;
    Ref();
    stream_.Finish(grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED,
                                "the server has as many calls as it takes; "
                                "try again later"),
                   finish_.tag());
    server_.Release();
    return true;  // to be counted
  }
  const Method* method = server_.acceptor().FindMethod(context_.method());
  if (method == nullptr || ClientStreams(method->kind())) return true;
  // Its one request is on its way: the loop gets both together.
  begin_with_read_ = true;
  Read();
  return false;
}

void GrpcServerCall::Begin() {
  if (rejected_) {
    server_.acceptor().OnRejected(1);
    Unref();
    return;
  }
  events_ = server_.acceptor().OnCall(*this);
  if (cancelled_) events_->OnCancelled();
}

void GrpcServerCall::Read() {
  Ref();
  stream_.Read(&in_, read_.tag());
}

bool GrpcServerCall::ReadDone(bool ok) {
  read_ok_ = ok;
  return true;
}

void GrpcServerCall::OnReadDone() {
  if (begin_with_read_) {
    begin_with_read_ = false;
    Begin();
  }
  if (!finished_) {
    if (read_ok_) {
      std::string message = FromByteBuffer(in_);
      in_.Clear();
      events_->OnRead(std::move(message));
    } else if (grpc_call_failed_before_recv_message(context_.c_call()) == 0) {
      events_->OnRead(std::nullopt);
    }
    // Otherwise the call is broken, which is not an end of its messages: word
    // of that is on its way.
  }
  Unref();
}

void GrpcServerCall::Write(std::string message) {
  Ref();
  // gRPC takes the bytes before this returns.
  const grpc::ByteBuffer out = ToByteBuffer(std::move(message));
  stream_.Write(out, write_.tag());
}

bool GrpcServerCall::WriteDone(bool ok) {
  write_ok_ = ok;
  return true;
}

void GrpcServerCall::OnWriteDone() {
  if (!finished_) events_->OnWritten(write_ok_);
  Unref();
}

bool GrpcServerCall::JustDone(bool) {
  Unref();
  return false;
}

bool GrpcServerCall::CallDone(bool) {
  if (context_.IsCancelled()) return true;
  Unref();
  return false;
}

void GrpcServerCall::OnCancelled() {
  cancelled_ = true;
  if (events_ != nullptr && !finished_) events_->OnCancelled();
  Unref();
}

std::vector<std::string> GrpcServerCall::peer_identity() const {
  std::vector<std::string> names;
  const auto context = context_.auth_context();
  if (context == nullptr) return names;
  for (const grpc::string_ref& name : context->GetPeerIdentity()) {
    names.emplace_back(name.data(), name.size());
  }
  return names;
}

void GrpcServerCall::SetHeaders(const Metadata& headers) {
  for (const Metadata::Entry& entry : headers) {
    context_.AddInitialMetadata(entry.key, entry.value);
  }
}

void GrpcServerCall::SendHeaders() {
  Ref();
  stream_.SendInitialMetadata(headers_.tag());
}

void GrpcServerCall::Finish(std::optional<std::string> message,
                            const absl::Status& status,
                            const Metadata& trailers) {
  finished_ = true;
  events_ = nullptr;
  for (const Metadata::Entry& entry : trailers) {
    context_.AddTrailingMetadata(entry.key, entry.value);
  }
  server_.Leave();
  Ref();
  if (status.ok() && message.has_value()) {
    const grpc::ByteBuffer out = ToByteBuffer(*std::move(message));
    stream_.WriteAndFinish(out, grpc::WriteOptions(), grpc::Status::OK,
                           finish_.tag());
  } else {
    stream_.Finish(ToGrpc(status), finish_.tag());
  }
  server_.Release();
  Unref();
}

// --- The server ---

std::shared_ptr<grpc::ServerCredentials> GrpcServer::Credentials() const {
  if (!tls_.has_value()) return grpc::InsecureServerCredentials();
  grpc::SslServerCredentialsOptions options(
      tls_->trusted_client_certificates.empty()
          ? GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE
          : GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  options.pem_root_certs = tls_->trusted_client_certificates;
  options.pem_key_cert_pairs.push_back(
      {tls_->private_key, tls_->certificate_chain});
  return grpc::SslServerCredentials(options);
}

absl::StatusOr<std::vector<int>> GrpcServer::Listen(CallAcceptor& acceptor) {
  acceptor_ = &acceptor;
  if (listen_.empty()) {
    return absl::InvalidArgumentError(
        "a server has no address to listen on; set ServerOptions::listen");
  }
  std::vector<int> ports(listen_.size());
  std::vector<TcpListener> listeners;
  std::vector<size_t> left;  // to gRPC
  for (size_t i = 0; i < listen_.size(); ++i) {
    const absl::StatusOr<SocketAddress> address =
        SocketAddress::Parse(listen_[i]);
    if (!address.ok()) {
      if (!SaysWhere(listen_[i])) {
        return absl::InvalidArgumentError(absl::StrCat(
            "can't listen on ", listen_[i],
            ": it has no port; write 127.0.0.1:7008, localhost:7008, [::]:0 "
            "or unix:/path"));
      }
      left.push_back(i);
      continue;
    }
    absl::StatusOr<TcpListener> listener =
        TcpListener::Bind(*address, {.reuse_port = reuse_port_});
    if (!listener.ok()) {
      return absl::UnavailableError(
          absl::StrCat("can't listen on ", listen_[i], ": ",
                       std::string(listener.status().message())));
    }
    ports[i] = listener->local_address().port();
    listeners.push_back(*std::move(listener));
  }
  grpc::ServerBuilder builder;
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, reuse_port_ ? 1 : 0);
  builder.SetMaxReceiveMessageSize(static_cast<int>(
      std::min<size_t>(max_request_bytes_, std::numeric_limits<int>::max())));
  builder.SetMaxSendMessageSize(-1);
  builder.RegisterAsyncGenericService(&service_);
  std::unique_ptr<grpc::ServerCompletionQueue> queue =
      builder.AddCompletionQueue();
  const std::shared_ptr<grpc::ServerCredentials> credentials = Credentials();
  for (const size_t i : left) {
    builder.AddListeningPort(listen_[i], credentials, &ports[i]);
  }
  if (!listeners.empty()) {
    connections_ = builder.experimental().AddExternalConnectionAcceptor(
        grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD,
        credentials);
  }
  server_ = builder.BuildAndStart();
  if (server_ == nullptr) {
    queue->Shutdown();
    void* tag = nullptr;
    bool ok = false;
    while (queue->Next(&tag, &ok)) {
    }
    // gRPC takes them in order, and says no more than which it has.
    size_t failed = 0;
    while (failed + 1 < ports.size() && ports[failed] != 0) ++failed;
    const bool taken = ports[failed] != 0;
    return absl::UnavailableError(absl::StrCat(
        "can't listen on ", listen_[failed],
        taken ? ": the certificate or key can't be used"
        : tls_.has_value()
            ? ": the address is in use or not this machine's, or the "
              "certificate or key can't be used"
            : ": it is in use, not an address of this machine, or not "
              "permitted"));
  }
  listeners_ = std::move(listeners);
  for (size_t i = 0; i < listen_.size(); ++i) {
    if (listen_[i].starts_with("unix")) ports[i] = 0;
  }
  queue_ = queue.get();
  unstarted_ = std::move(queue);
  return ports;
}

void GrpcServer::Start() {
  thread_ = std::make_unique<CompletionThread>(Loop::Current(),
                                               std::move(unstarted_), &end_);
  for (int i = 0; i < kAsked; ++i) Ask();
}

Task<void> GrpcServer::Accept() {
  (co_await WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
    for (TcpListener& listener : listeners_) {
      group.Start("accept", [this, &listener]() -> Task<void> {
        co_await AcceptFrom(listener);
      });
    }
    co_return co_await group.Join();
  })).IgnoreError();  // none of them fails
}

Task<void> GrpcServer::AcceptFrom(TcpListener& listener) {
  for (;;) {
    absl::StatusOr<TcpStream> stream = co_await listener.Accept();
    if (!stream.ok()) {
      co_await SleepFor(kAfterError);
      continue;
    }
    grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters
        connection;
    connection.listener_fd = listener.native_handle();
    // gRPC closes the descriptor it gets.
    // lint: allow(io): there is no other way to give gRPC a connection
    connection.fd = ::fcntl(stream->native_handle(), F_DUPFD_CLOEXEC, 0);
    // Without one left, the client is told to come back by a closed connection.
    if (connection.fd >= 0) connections_->HandleNewConnection(&connection);
    // Before the next: a burst of them takes one descriptor each, not two.
    co_await stream->Close();
  }
}

void GrpcServer::StopAccepting() {
  {
    const std::lock_guard lock(asking_);
    if (std::exchange(stopping_, true)) return;
  }
  listeners_.clear();
  if (thread_ == nullptr) return;
  // It closes listeners at once, and blocks until no connection has a call.
  // Then no call can come; those that clients gave up may still be handled.
  const braid::detail::AllSignalsBlocked blocked;
  // lint: allow(thread): gRPC blocks there
  shutdown_ = std::thread([this] {
    server_->Shutdown();
    Release();
  });
}

Task<void> GrpcServer::Join() {
  if (thread_ == nullptr) co_return;
  const bool in_time = co_await MoveOnAfter(kLinger, joined_.Wait());
  if (in_time) co_return;
  grpc_server_cancel_all_calls(server_->c_server());
  co_await joined_.Wait();
}

void GrpcServer::OnEnd() {
  shutdown_.join();
  thread_.reset();
  ended_ = true;
  joined_.Look();
}

GrpcServer::~GrpcServer() {
  Check(thread_ == nullptr, "a gRPC server goes while it serves");
  if (server_ == nullptr || ended_) return;
  // It listened, and never began.
  server_->Shutdown();
  unstarted_->Shutdown();
  void* tag = nullptr;
  bool ok = false;
  while (unstarted_->Next(&tag, &ok)) {
  }
}

}  // namespace

std::shared_ptr<ServerTransport> MakeGrpcServerTransport(
    const ServerOptions& options) {
  return std::make_shared<GrpcServer>(options);
}

}  // namespace braid::rpc::detail
