#include "braid/rpc/detail/server_call.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "braid/core/detail/loop.h"

namespace braid::rpc {
namespace {

absl::string_view View(std::string_view text) {
  return {text.data(), text.size()};
}

// Metadata that can't be sent is a mistake of the handler that added it, not of
// the client's arguments.
absl::Status Sendable(const Metadata& metadata) {
  const absl::Status status = metadata.Validate();
  return status.ok() ? status : absl::InternalError(status.message());
}

}  // namespace

Metadata& ServerContext::headers() {
  detail::Check(!headers_sent_,
                "the headers of a call are changed after they were sent; add "
                "what comes later to the trailers");
  return headers_;
}

absl::Status ServerContext::SendHeaders() {
  if (headers_sent_) return absl::OkStatus();
  if (absl::Status status = headers_.Validate(); !status.ok()) return status;
  headers_sent_ = true;
  wire_->SetHeaders(headers_);
  wire_->SendHeaders();
  return absl::OkStatus();
}

namespace detail {

using braid::detail::Link;
using braid::detail::LinkOps;
using braid::detail::Scope;
using braid::detail::Unwound;

const LinkOps ServerCall::kOps = {&Done, &Stopped, false, "rpc"};

ServerCall::ServerCall(CallHost& host, ServerWire& wire, const Method& method,
                       Service& service, Handler handler,
                       MethodObserver* observer)
    : TaskNode(method.path()),
      Link(&kOps),
      host_(host),
      wire_(wire),
      observer_(observer),
      context_(&method, &wire),
      flow_(method.path(), this),
      handler_(handler(service, *this).MakeAwaiter()) {
  flow_.SetObserver(observer);
}

ServerCall* ServerCall::Start(CallHost& host, Scope& scope, ServerWire& wire,
                              const Method& method, Service& service,
                              Handler handler, MethodObserver* observer) {
  auto* call = new ServerCall(host, wire, method, service, handler, observer);
  Loop& loop = Loop::Current();
  const Time deadline = call->context_.deadline();
  if (observer != nullptr) {
    observer->Started();
    call->begin_ = loop.Now();
  }
  call->TaskNode::Start(loop, &scope, call->handler_.Start(call));
  if (deadline != kNever) {
    call->own.SetRelativeDeadline(deadline, loop.Now());
  }
  return call;
}

absl::Status ServerCall::NoRequest() const {
  return absl::InternalError(
      absl::StrCat(View(context_.method().path()),
                   " takes one request, and the client sent none"));
}

void ServerCall::OnRead(std::optional<std::string> message) {
  if (message.has_value()) {
    flow_.Arrived(*std::move(message));
  } else {
    flow_.NoMoreMessages();
  }
}

void ServerCall::OnWritten(bool ok) {
  flow_.Written(ok);
  if (task_ended_ && !flow_.writing()) Finish();
}

void ServerCall::OnCancelled() {
  cancelled_ = true;
  if (task_ended_) return;
  own.Cancel(CancelCause::Source::kExplicit,
             "the client cancelled the call or went away");
  // For what runs in a shield and so isn't stopped.
  flow_.End(absl::CancelledError("the client cancelled the call or went away"));
}

void ServerCall::Write(std::string message) {
  SetHeaders();
  wire_.Write(std::move(message));
}

Link* ServerCall::Done(Link* link) {
  auto* self = static_cast<ServerCall*>(link);
  auto& slot = *self->handler_.slot();
  if (slot.has_exception()) {
    if (self->observer_ != nullptr) {
      self->observer_->HandlerThrew(slot.exception());
    }
    self->TaskEnded(absl::InternalError(
        absl::StrCat("the handler of ", View(self->context_.method().path()),
                     " ended with an exception")));
  } else {
    self->TaskEnded(slot.Take());
  }
  return nullptr;
}

Unwound ServerCall::Stopped(Link* link) {
  auto* self = static_cast<ServerCall*>(link);
  self->TaskEnded(self->StatusOfStop());
  return {nullptr, false};
}

absl::Status ServerCall::StatusOfStop() const {
  const std::optional<CancelCause> cause = own.cause();
  if (cause.has_value() && cause->source == CancelCause::Source::kDeadline) {
    return absl::DeadlineExceededError(
        absl::StrCat("the deadline of ", View(context_.method().path()),
                     " passed while it was handled"));
  }
  if (cancelled_) {
    return absl::CancelledError("the client cancelled the call or went away");
  }
  return absl::UnavailableError("the server is shutting down");
}

void ServerCall::TaskEnded(absl::Status status) {
  Fail(std::move(status));
  const bool give_up = own.due();
  TaskNode::End();
  task_ended_ = true;
  // Made once: every call comes here.
  static const auto& ended = *new absl::Status(
      absl::CancelledError("the handler of the call has ended"));
  flow_.End(ended);
  if (!flow_.writing()) {
    Finish();
  } else if (give_up) {
    wire_.Abort();
  }
}

void ServerCall::GiveUp() {
  if (task_ended_ && flow_.writing()) wire_.Abort();
}

void ServerCall::SetHeaders() {
  if (context_.headers_sent_) return;
  context_.headers_sent_ = true;
  if (context_.headers_.empty()) return;
  if (absl::Status sendable = Sendable(context_.headers_); sendable.ok()) {
    wire_.SetHeaders(context_.headers_);
  } else {
    Fail(std::move(sendable));
  }
}

void ServerCall::Finish() {
  std::optional<std::string> message;
  if (reply_.has_value()) {
    if (reply_->ok()) {
      message = *std::move(*reply_);
    } else {
      Fail(reply_->status());
    }
  }
  SetHeaders();
  absl::Status sendable = Sendable(context_.trailers_);
  Fail(sendable);
  const bool replied = status_.ok() && message.has_value();
  wire_.Finish(std::move(message), status_,
               sendable.ok() ? context_.trailers_ : Metadata());
  if (observer_ != nullptr) {
    if (replied) observer_->MessageSent();
    observer_->Handled(status_.code(), Loop::Current().Now() - begin_);
  }
  host_.CallEnded(*this);
  delete this;
}

}  // namespace detail
}  // namespace braid::rpc
