#include "braid/core/status.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/cord.h"

namespace braid {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// Each condition has one code and one predicate, and no other predicate fits.
TEST(Status, EachConditionHasItsCodeAndPredicate) {
  using Make = absl::Status (*)(std::string_view);
  using Is = bool (*)(const absl::Status&);
  struct Condition {
    Make make;
    Is is;
    absl::StatusCode code;
  };
  const Condition conditions[] = {
      {ClosedError, IsClosed, absl::StatusCode::kFailedPrecondition},
      {BrokenError, IsBroken, absl::StatusCode::kUnavailable},
      {BusyError, IsBusy, absl::StatusCode::kFailedPrecondition},
      {WouldBlockError, IsWouldBlock, absl::StatusCode::kResourceExhausted},
      {IncompleteReadError, IsIncompleteRead, absl::StatusCode::kOutOfRange},
      {DelimiterNotFoundError, IsDelimiterNotFound,
       absl::StatusCode::kResourceExhausted},
  };
  for (const Condition& made : conditions) {
    const absl::Status status = made.make("message");
    EXPECT_EQ(status.code(), made.code);
    EXPECT_EQ(status.message(), "message");
    for (const Condition& asked : conditions) {
      EXPECT_EQ(asked.is(status), made.is == asked.is);
      EXPECT_FALSE(asked.is(absl::OkStatus()));
      EXPECT_FALSE(asked.is(absl::Status(made.code, "of somebody else")));
    }
  }
}

TEST(Status, SuppressedErrorsKeepTheirOrderCodeMessageAndPayloads) {
  absl::Status detailed = absl::DataLossError(std::string("with\0nul", 8));
  detailed.SetPayload("a", absl::Cord("1"));
  const std::string long_payload(1000, 'p');
  detailed.SetPayload("b", absl::Cord(long_payload));
  const absl::Status bare = absl::UnknownError("");
  absl::Status status = WithSuppressed(absl::NotFoundError("first"),
                                       {detailed, ClosedError("c"), bare});
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(status.message(), "first");
  std::vector<absl::Status> suppressed = SuppressedErrors(status);
  EXPECT_THAT(suppressed, ElementsAre(detailed, ClosedError("c"), bare));
  EXPECT_TRUE(IsClosed(suppressed[1]));
}

TEST(Status, MoreSuppressedErrorsAreAppended) {
  absl::Status status = WithSuppressed(absl::NotFoundError("first"),
                                       {absl::AbortedError("second")});
  status = WithSuppressed(std::move(status), {absl::AbortedError("third")});
  EXPECT_THAT(
      SuppressedErrors(status),
      ElementsAre(absl::AbortedError("second"), absl::AbortedError("third")));
  // What stands behind a suppressed error follows it.
  const absl::Status outer = WithSuppressed(
      absl::UnknownError("outer"), {status, absl::AbortedError("last")});
  EXPECT_THAT(
      SuppressedErrors(outer),
      ElementsAre(absl::NotFoundError("first"), absl::AbortedError("second"),
                  absl::AbortedError("third"), absl::AbortedError("last")));
}

TEST(Status, AnyTextMayBeSuppressed) {
  std::vector<absl::Status> errors;
  for (const char* text :
       {"", "|", "||", "{", "}", "{a=b}", "=", "\\", "\\\\", "\\|", ": ",
        ": : ", "NOT_FOUND: x", "\n", "\xff\xfe", "a|b{c=d}e\\"}) {
    absl::Status error = absl::AbortedError(text);
    errors.push_back(error);
    if (*text != '\0') error.SetPayload(text, absl::Cord(text));
    errors.push_back(error);
    errors.push_back(absl::OutOfRangeError(text));
  }
  EXPECT_EQ(SuppressedErrors(WithSuppressed(absl::UnknownError("x"), errors)),
            errors);
}

// Story: each level of a nest of groups escaped the text of the one below,
// which doubled.
TEST(Status, ANestOfFailuresGrowsLinearly) {
  absl::Status status = absl::NotFoundError("{innermost}");
  for (int i = 0; i < 200; ++i) {
    status = WithSuppressed(absl::AbortedError("a|b"), {status});
  }
  EXPECT_EQ(SuppressedErrors(status).size(), 200u);
  EXPECT_EQ(SuppressedErrors(status).back(),
            absl::NotFoundError("{innermost}"));
  EXPECT_LT(status.GetPayload("braid/suppressed")->size(), 200u * 40);
}

TEST(Status, NoneWhereThereAreNone) {
  EXPECT_THAT(SuppressedErrors(absl::OkStatus()), IsEmpty());
  EXPECT_THAT(SuppressedErrors(absl::NotFoundError("x")), IsEmpty());
  EXPECT_EQ(WithSuppressed(absl::OkStatus(), {absl::AbortedError("x")}),
            absl::OkStatus());
  EXPECT_EQ(WithSuppressed(absl::AbortedError("x"), {}),
            absl::AbortedError("x"));
}

// A payload may come from elsewhere, over a network.
TEST(Status, AMangledPayloadIsNotACrash) {
  const absl::Status whole =
      WithSuppressed(absl::NotFoundError("first"),
                     {absl::AbortedError("second"), ClosedError("third")});
  absl::string_view url = "braid/suppressed";
  const std::string bytes(*whole.GetPayload(url));
  for (size_t length = 0; length <= bytes.size(); ++length) {
    absl::Status cut = absl::NotFoundError("first");
    cut.SetPayload(url, absl::Cord(absl::string_view(bytes).substr(0, length)));
    EXPECT_LE(SuppressedErrors(cut).size(), 2u);
    for (const char* junk : {"\xff", "\x00"}) {
      if (length >= bytes.size()) break;
      std::string changed = bytes;
      changed[length] = *junk;
      cut.SetPayload(url, absl::Cord(changed));
      (void)SuppressedErrors(cut);
    }
  }
  EXPECT_EQ(SuppressedErrors(whole).size(), 2u);
}

}  // namespace
}  // namespace braid
