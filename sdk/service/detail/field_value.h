// One value of one field of a configuration: from text, to text, and whether it
// is allowed.

#ifndef BRAID_SERVICE_DETAIL_FIELD_VALUE_H_
#define BRAID_SERVICE_DETAIL_FIELD_VALUE_H_

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "absl/time/time.h"
#include "braid/service/flag.pb.h"

namespace braid::service::detail {

using Value =
    std::variant<bool, int64_t, uint64_t, double, std::string,
                 const google::protobuf::EnumValueDescriptor*, absl::Duration>;

// What the schema says about the field.
const Flag& RuleOf(const google::protobuf::FieldDescriptor& field);

bool IsDuration(const google::protobuf::FieldDescriptor& field);
// Whether the field holds Values, and not messages.
bool IsLeaf(const google::protobuf::FieldDescriptor& field);

// Reads what a person writes for one value. Nothing if it is no value of the
// field's type.
std::optional<Value> ParseValue(const google::protobuf::FieldDescriptor& field,
                                std::string_view text);
// The way back: text that ParseValue reads as the same value.
std::string FormatValue(const google::protobuf::FieldDescriptor& field,
                        const Value& value);

// The field's value in a message; `index` for a repeated field. Nothing if the
// message holds something that is no value of the type: an undefined enum
// number, a denormal duration.
std::optional<Value> GetValue(const google::protobuf::Message& message,
                              const google::protobuf::FieldDescriptor& field,
                              int index);
// Sets a singular field, or appends to a repeated one.
void PutValue(google::protobuf::Message& message,
              const google::protobuf::FieldDescriptor& field,
              const Value& value);

// Whether the value keeps the field's min, max and allowed.
bool IsAllowed(const google::protobuf::FieldDescriptor& field,
               const Value& value);

// What may be given, for a message that says "must be ...": "a whole number
// from 1 to 10", "one of text, json".
std::string Allowed(const google::protobuf::FieldDescriptor& field);

// What stands for the value in a usage line: "NUMBER", "DURATION", "text|json".
std::string Placeholder(const google::protobuf::FieldDescriptor& field);

// What is wrong with the field's options, empty if nothing.
std::string RuleProblem(const google::protobuf::FieldDescriptor& field);

}  // namespace braid::service::detail

#endif  // BRAID_SERVICE_DETAIL_FIELD_VALUE_H_
