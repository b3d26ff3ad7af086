#include "braid/rpc/detail/client_call.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "braid/core/detail/loop.h"
#include "braid/core/sleep.h"

namespace braid::rpc::detail {
namespace {

// How much earlier than the scope's the transport's clock may be taken to be,
// and how long its verdict waits for the scope's: deadlines travel as whole
// milliseconds.
constexpr Duration kHair = std::chrono::milliseconds(2);

absl::Status NoReply(const Method& method) {
  return absl::InternalError(absl::StrCat(
      "the server ended ",
      absl::string_view(method.path().data(), method.path().size()),
      " with OK, but sent no reply"));
}

}  // namespace

MethodObserver* ChannelState::ObserverOf(const Method& method) {
  if (observer_ == nullptr) return nullptr;
  for (const auto& [known, observer] : methods_) {
    if (known == &method) return observer;
  }
  MethodObserver* observer = &observer_->ForMethod(method);
  methods_.emplace_back(&method, observer);
  return observer;
}

ClientCall::~ClientCall() {
  if (loop_ != nullptr) loop_->timers().Remove(*this);
  if (wire_ == nullptr) return;
  Count(absl::StatusCode::kCancelled);
  wire_->Abandon();
}

void ClientCall::Begin(std::optional<absl::StatusOr<std::string>> request,
                       CallOptions& options) {
  loop_ = &Loop::Current();
  info_ = options.info();
  const Time now = loop_->Now();
  const Time scope_deadline = CurrentDeadline();
  const Time own_deadline = braid::detail::Add(now, options.timeout());
  if (scope_deadline <= own_deadline) scope_deadline_ = scope_deadline;
  observer_ = channel_->ObserverOf(*method_);
  if (observer_ != nullptr) {
    begin_ = now;
    observer_->Started();
  }
  status_ = options.metadata().Validate();
  std::optional<std::string> message;
  if (request.has_value()) {
    if (!request->ok()) status_.Update(request->status());
    if (status_.ok()) message = *std::move(*request);
  }
  if (!status_.ok()) {
    Count(status_.code());
    End();
    return;
  }
  if (observer_ != nullptr && message.has_value()) observer_->MessageSent();
  wire_ = channel_->transport().Start(
      CallStart(method_, std::move(options.metadata()),
                std::min(scope_deadline, own_deadline),
                options.wait_for_ready(), std::move(message)),
      *this);
}

void ClientCall::Cancel() {
  cancelled_ = true;
  if (wire_ != nullptr) wire_->Cancel();
}

bool ClientCall::DropHeldEnd() {
  if (!Timer::armed()) return false;
  loop_->timers().Remove(*this);
  return true;
}

void ClientCall::Count(absl::StatusCode code) {
  if (observer_ == nullptr) return;
  const Time now = loop_->Now();
  // A call that its scope's deadline cancelled.
  if (code == absl::StatusCode::kCancelled && now >= scope_deadline_) {
    code = absl::StatusCode::kDeadlineExceeded;
  }
  observer_->Handled(code, now - begin_);
}

void ClientCall::OnEnd(absl::Status status, Metadata trailers) {
  status_ = std::move(status);
  trailers_ = std::move(trailers);
  Count(status_.code());
  std::exchange(wire_, nullptr)->Abandon();
  if (status_.code() == absl::StatusCode::kDeadlineExceeded && !cancelled_ &&
      scope_deadline_ != kNever) {
    const Time now = loop_->Now();
    if (scope_deadline_ <= braid::detail::Add(now, kHair)) {
      loop_->timers().Add(
          *this, braid::detail::Add(std::max(now, scope_deadline_), kHair));
      return;
    }
  }
  End();
}

void ClientCall::End() {
  if (info_ != nullptr) {
    info_->headers = headers_;
    info_->trailers = trailers_;
  }
  Ended(status_);
}

void UnaryOp::Suspend() { Begin(std::move(request_), options_); }

void UnaryOp::Cancel() noexcept {
  if (DropHeldEnd()) return Stop();
  stopping_ = true;
  ClientCall::Cancel();
}

void UnaryOp::OnRead(std::optional<std::string> message) {
  if (!message.has_value()) return;
  if (observer() != nullptr) observer()->MessageReceived();
  reply_ = std::move(message);
}

void UnaryOp::Ended(const absl::Status& status) {
  // A reply that came in time is a value; an error may be the cancel's echo.
  if (stopping_ && !status.ok()) return Stop();
  status_ = status;
  Complete();
}

absl::Status UnaryOp::Take(google::protobuf::MessageLite& reply) {
  if (!status_.ok()) return std::move(status_);
  if (!reply_.has_value()) return NoReply(method());
  return Parse(*reply_, method().path(), reply);
}

StreamingCall::StreamingCall(std::shared_ptr<ChannelState> channel,
                             const Method* method,
                             std::optional<absl::StatusOr<std::string>> request,
                             CallOptions options)
    : ClientCall(std::move(channel), method), flow_(method->path(), this) {
  Begin(std::move(request), options);
  flow_.SetObserver(observer());
}

void StreamingCall::OnRead(std::optional<std::string> message) {
  // The end of the messages is not the end of the call: its status follows.
  if (!message.has_value()) return;
  if (ServerStreams(method().kind())) {
    flow_.Arrived(*std::move(message));
  } else {
    only_reply_ = std::move(message);
  }
}

void StreamingCall::Ended(const absl::Status& status) {
  if (status.ok() && !ServerStreams(method().kind())) {
    if (!only_reply_.has_value()) return flow_.End(NoReply(method()));
    flow_.Arrived(*std::move(only_reply_));
  }
  flow_.End(status);
}

}  // namespace braid::rpc::detail
