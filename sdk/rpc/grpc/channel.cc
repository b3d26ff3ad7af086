// Clients over gRPC's generic stub: implements detail/make_transport.h.
//
// A call is one object with two owners: gRPC, for each operation under way; and
// whoever began it, until Abandon. It lives on the loop: operations complete on
// the loop's completion thread, and are handed over. It holds the loop, so that
// nothing of it is left when the loop ends.
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/security/credentials.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "braid/core/detail/loop.h"
#include "braid/core/loop_local.h"
#include "braid/rpc/client.h"
#include "braid/rpc/detail/make_transport.h"
#include "braid/rpc/grpc/completion_thread.h"
#include "braid/rpc/grpc/convert.h"
#include "braid/rpc/transport.h"

namespace braid::rpc::detail {
namespace {

using braid::detail::Loop;

// The completion thread that all channels of a loop share. When the loop ends
// no call is left, because each holds the loop.
class ClientThread {
 public:
  ClientThread()
      : thread_(Loop::Current(), std::make_unique<grpc::CompletionQueue>()) {}
  ~ClientThread() { thread_.Shutdown(); }

  grpc::CompletionQueue* queue() { return thread_.queue(); }

 private:
  CompletionThread thread_;
};

constexpr LoopLocal<ClientThread> kThread;

class GrpcClientCall : public ClientWire {
 public:
  GrpcClientCall(const GrpcClientCall&) = delete;
  GrpcClientCall& operator=(const GrpcClientCall&) = delete;

  void Cancel() final { context_.TryCancel(); }
  void Abandon() final {
    events_ = nullptr;
    if (!ended_) context_.TryCancel();
    DeleteIfDone();
  }

 protected:
  // An operation of a call.
  class Event final : public CompletionThread::Event {
   public:
    using OnLoop = void (*)(GrpcClientCall& call);

    Event(GrpcClientCall* call, OnLoop on_loop)
        : CompletionThread::Event(&OnThread, &Tell),
          call_(call),
          on_loop_(on_loop) {}

    // Gives it to gRPC.
    void* Begin() {
      ++call_->under_way_;
      return tag();
    }
    bool ok() const { return ok_; }

   private:
    static bool OnThread(CompletionThread::Event& event, bool ok) {
      static_cast<Event&>(event).ok_ = ok;
      return true;
    }
    static void Tell(CompletionThread::Event& event) {
      auto& self = static_cast<Event&>(event);
      GrpcClientCall* call = self.call_;
      --call->under_way_;
      call->busy_ = true;
      self.on_loop_(*call);
      call->busy_ = false;
      call->DeleteIfDone();
    }

    GrpcClientCall* call_;
    OnLoop on_loop_;
    bool ok_ = false;
  };

  GrpcClientCall(ClientWireEvents& events, const CallStart& start)
      : loop_(Loop::Current()), events_(&events) {
    loop_.Hold();
    for (const Metadata::Entry& entry : start.metadata) {
      context_.AddMetadata(entry.key, entry.value);
    }
    if (start.deadline != kNever) {
      context_.set_deadline(ToGrpcDeadline(start.deadline, loop_));
    }
    context_.set_wait_for_ready(start.wait_for_ready);
  }
  virtual ~GrpcClientCall() { loop_.Release(); }

  // nullptr once abandoned.
  ClientWireEvents* events() { return events_; }
  bool ended() const { return ended_; }
  int under_way() const { return under_way_; }

  void TellHeaders() {
    if (events_ != nullptr) {
      events_->OnHeaders(FromGrpc(context_.GetServerInitialMetadata()));
    }
  }
  void TellEnd() {
    ended_ = true;
    if (events_ != nullptr) {
      events_->OnEnd(FromGrpc(status_),
                     FromGrpc(context_.GetServerTrailingMetadata()));
    }
  }

  grpc::ClientContext context_;
  grpc::Status status_;

 private:
  void DeleteIfDone() {
    if (events_ == nullptr && under_way_ == 0 && !busy_) delete this;
  }

  Loop& loop_;
  ClientWireEvents* events_;
  int under_way_ = 0;
  bool ended_ = false;
  bool busy_ = false;  // an event is being told; whoever tells it deletes
};

// One request, one reply: one operation of gRPC.
class GrpcUnaryCall final : public GrpcClientCall {
 public:
  GrpcUnaryCall(grpc::GenericStub& stub, CallStart start,
                ClientWireEvents& events)
      : GrpcClientCall(events, start) {
    const grpc::ByteBuffer request = ToByteBuffer(*std::move(start.message));
    reader_ =
        stub.PrepareUnaryCall(&context_, std::string(start.method->path()),
                              request, kThread.Get().queue());
    reader_->StartCall();
    reader_->Finish(&reply_, &status_, finish_.Begin());
  }

 private:
  void Read() override {}
  void Write(std::string) override {}
  void HalfClose() override {}

  void OnFinish() {
    TellHeaders();
    if (status_.ok() && reply_.Valid() && events() != nullptr) {
      events()->OnRead(FromByteBuffer(reply_));
    }
    TellEnd();
  }

  grpc::ByteBuffer reply_;
  std::unique_ptr<grpc::GenericClientAsyncResponseReader> reader_;
  Event finish_{this, [](GrpcClientCall& call) {
                  static_cast<GrpcUnaryCall&>(call).OnFinish();
                }};
};

// A stream in at least one direction.
class GrpcStreamingCall final : public GrpcClientCall {
 public:
  GrpcStreamingCall(grpc::GenericStub& stub, CallStart start,
                    ClientWireEvents& events)
      : GrpcClientCall(events, start) {
    // Its metadata goes with its only request.
    if (start.message.has_value()) context_.set_initial_metadata_corked(true);
    stream_ = stub.PrepareCall(&context_, std::string(start.method->path()),
                               kThread.Get().queue());
    if (start.message.has_value()) {
      stream_->StartCall(nullptr);
      stream_->Write(ToByteBuffer(*std::move(start.message)),
                     grpc::WriteOptions().set_last_message(), write_.Begin());
    } else {
      stream_->StartCall(write_.Begin());
    }
    writing_ = true;
    stream_->ReadInitialMetadata(headers_.Begin());
    stream_->Finish(&status_, finish_.Begin());
    if (!ServerStreams(start.method->kind())) Read();
  }

 private:
  void Read() override { stream_->Read(&in_, read_.Begin()); }

  // gRPC's object has one place for what goes out: the call's beginning, a
  // message, the end of messages; the next waits for the one before.
  void Write(std::string message) override {
    if (writing_) {
      next_message_ = std::move(message);
      return;
    }
    writing_ = true;
    answer_ = true;
    stream_->Write(ToByteBuffer(std::move(message)), write_.Begin());
  }
  void HalfClose() override {
    if (writing_) {
      next_half_close_ = true;
      return;
    }
    writing_ = true;
    stream_->WritesDone(write_.Begin());
  }

  void OnWrite() {
    writing_ = false;
    if (std::exchange(answer_, false) && events() != nullptr) {
      events()->OnWritten(write_.ok());
    }
    if (ended()) return;
    if (!writing_ && next_message_.has_value()) {
      if (write_.ok()) {
        Write(*std::exchange(next_message_, std::nullopt));
      } else {
        next_message_.reset();
        if (events() != nullptr) events()->OnWritten(false);
      }
    }
    if (!writing_ && next_half_close_) {
      next_half_close_ = false;
      if (write_.ok()) HalfClose();
    }
    EndIfAllIsDone();
  }

  void OnHeaders() {
    has_headers_ = true;
    TellHeaders();
    if (has_message_) OnRead();
    EndIfAllIsDone();
  }

  void OnRead() {
    // What came first is told first.
    has_message_ = !has_headers_;
    if (has_message_) return;
    // No message: the status follows.
    if (read_.ok() && events() != nullptr) {
      std::string message = FromByteBuffer(in_);
      in_.Clear();
      events()->OnRead(std::move(message));
    }
    EndIfAllIsDone();
  }

  void OnFinish() {
    has_status_ = true;
    EndIfAllIsDone();
  }

  void EndIfAllIsDone() {
    if (has_status_ && !has_message_ && under_way() == 0 && !ended()) TellEnd();
  }

  grpc::ByteBuffer in_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> stream_;
  std::optional<std::string> next_message_;
  bool next_half_close_ = false;
  bool writing_ = false;
  bool answer_ = false;  // what is being written is a message of the caller's
  bool has_headers_ = false;
  bool has_message_ = false;  // that waits for the headers
  bool has_status_ = false;
  Event write_{this, [](GrpcClientCall& call) {
                 static_cast<GrpcStreamingCall&>(call).OnWrite();
               }};
  Event headers_{this, [](GrpcClientCall& call) {
                   static_cast<GrpcStreamingCall&>(call).OnHeaders();
                 }};
  Event read_{this, [](GrpcClientCall& call) {
                static_cast<GrpcStreamingCall&>(call).OnRead();
              }};
  Event finish_{this, [](GrpcClientCall& call) {
                  static_cast<GrpcStreamingCall&>(call).OnFinish();
                }};
};

class GrpcClient final : public ClientTransport {
 public:
  explicit GrpcClient(std::shared_ptr<grpc::Channel> channel)
      : channel_(std::move(channel)), stub_(channel_) {}

  ClientWire* Start(CallStart start, ClientWireEvents& events) override {
    if (start.method->kind() == MethodKind::kUnary) {
      return new GrpcUnaryCall(stub_, std::move(start), events);
    }
    return new GrpcStreamingCall(stub_, std::move(start), events);
  }

  bool connected() const override {
    return channel_->GetState(/*try_to_connect=*/false) == GRPC_CHANNEL_READY;
  }

 private:
  const std::shared_ptr<grpc::Channel> channel_;
  grpc::GenericStub stub_;
};

std::shared_ptr<grpc::ChannelCredentials> Credentials(
    const std::optional<ClientTls>& tls) {
  if (!tls.has_value()) return grpc::InsecureChannelCredentials();
  grpc::SslCredentialsOptions options;
  options.pem_root_certs = tls->trusted_certificates;
  options.pem_private_key = tls->private_key;
  options.pem_cert_chain = tls->certificate_chain;
  return grpc::SslCredentials(options);
}

int Milliseconds(Duration duration) {
  const auto ms =
      std::chrono::ceil<std::chrono::milliseconds>(duration).count();
  return static_cast<int>(
      std::clamp<int64_t>(ms, 1, std::numeric_limits<int>::max()));
}

}  // namespace

std::shared_ptr<ClientTransport> MakeGrpcClientTransport(
    const std::string& target, const ChannelOptions& options) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(static_cast<int>(std::min<size_t>(
      options.max_reply_bytes, std::numeric_limits<int>::max())));
  arguments.SetMaxSendMessageSize(-1);
  if (!options.keepalive.is_infinite()) {
    arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS,
                     Milliseconds(options.keepalive.nanoseconds()));
  }
  if (options.tls.has_value() && !options.tls->server_name.empty()) {
    arguments.SetSslTargetNameOverride(options.tls->server_name);
  }
  return std::make_shared<GrpcClient>(
      grpc::CreateCustomChannel(target, Credentials(options.tls), arguments));
}

}  // namespace braid::rpc::detail
