// What AllOf, AnyOf and FirstOk do when a leg or all of them have ended.

#include "braid/core/all_of.h"
#include "braid/core/any_of.h"
#include "braid/core/first_ok.h"
#include "braid/core/status.h"

namespace braid::detail {
namespace {

void Add(Failures& failures, const absl::Status& status,
         const std::exception_ptr& exception) {
  if (exception != nullptr) {
    failures.Add(exception);
  } else {
    failures.Add(status);
  }
}

}  // namespace

const LinkOps AllOfBase::kOps = {&Done, &StoppedNever, false, "AllOf"};

void AllOfBase::LegEnded(End end, const absl::Status& status,
                         const std::exception_ptr& exception) {
  if (end == End::kStopped) some_stopped_ = true;
  if (end != End::kFailed) return;
  Add(failures_, status, exception);
  set_.scope.Cancel(CancelCause::Source::kChildFailed,
                    FailureReason("AllOf leg", status, exception));
}

Link* AllOfBase::Done(Link* link) {
  auto* self = static_cast<AllOfBase*>(link);
  const bool failed = !self->failures_.empty();
  if (failed && self->set_.stopped_from_outside)
    self->set_.scope.MarkCaughtOutside();
  self->set_.scope.Leave();
  return self->some_stopped_ && !failed ? Unwind(self->parent) : self->parent;
}

const LinkOps AnyOfBase::kOps = {&Done, &StoppedNever, false, "AnyOf"};

void AnyOfBase::LegEnded(End end, const absl::Status&,
                         const std::exception_ptr& exception) {
  if (end == End::kStopped) return;
  some_completed_ = true;
  if (exception != nullptr) failures_.Add(exception);
  set_.scope.Cancel(CancelCause::Source::kLegCompleted);
}

Link* AnyOfBase::Done(Link* link) {
  auto* self = static_cast<AnyOfBase*>(link);
  if (self->some_completed_ && self->set_.stopped_from_outside)
    self->set_.scope.MarkCaughtOutside();
  self->set_.scope.Leave();
  return self->some_completed_ ? self->parent : Unwind(self->parent);
}

const LinkOps FirstOkBase::kOps = {&Done, &StoppedNever, false, "FirstOk"};

void FirstOkBase::LegEnded(End end, const absl::Status& status,
                           const std::exception_ptr& exception) {
  switch (end) {
    case End::kValue:
      // It ends in its own task.
      if (winner_ == nullptr) winner_ = &Loop::Current().CurrentTask();
      set_.scope.Cancel(CancelCause::Source::kLegCompleted);
      break;
    case End::kFailed:
      Add(failures_, status, exception);
      break;
    case End::kStopped:
      some_stopped_ = true;
      break;
  }
}

absl::Status FirstOkBase::TakeMerged() {
  if (failures_.empty())
    return absl::InvalidArgumentError(
        "FirstOk was given nothing to run, so nothing could succeed");
  const size_t failed = failures_.statuses().size();
  std::string message =
      "all " + std::to_string(failed) + " alternatives failed";
  for (size_t i = 0; i < failed; ++i)
    message += (i == 0 ? ": " : "; ") + failures_.statuses()[i].ToString();
  absl::Status first =
      failures_.Take();  // rethrows where an exception is among them
  if (failed == 1) return first;
  absl::Status merged(first.code(),
                      absl::string_view(message.data(), message.size()));
  first.ForEachPayload([&](absl::string_view url, const absl::Cord& payload) {
    merged.SetPayload(url, payload);
  });
  return merged;
}

Link* FirstOkBase::Done(Link* link) {
  auto* self = static_cast<FirstOkBase*>(link);
  const bool over = self->winner_ != nullptr || !self->some_stopped_;
  if (over && self->set_.stopped_from_outside)
    self->set_.scope.MarkCaughtOutside();
  self->set_.scope.Leave();
  return over ? self->parent : Unwind(self->parent);
}

}  // namespace braid::detail
