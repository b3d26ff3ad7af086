#include "braid/service/detail/field_value.h"

#include <google/protobuf/duration.pb.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "braid/core/check.h"
#include "braid/metrics/detail/text.h"

namespace braid::service::detail {
namespace {

using braid::detail::AppendDouble;
using braid::detail::Concat;
using google::protobuf::EnumDescriptor;
using google::protobuf::EnumValueDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

struct SizeUnit {
  std::string_view name;
  uint64_t bytes;
};

constexpr std::array kSizeUnits = {
    SizeUnit{"TiB", uint64_t{1} << 40},
    SizeUnit{"GiB", uint64_t{1} << 30},
    SizeUnit{"MiB", uint64_t{1} << 20},
    SizeUnit{"KiB", uint64_t{1} << 10},
    SizeUnit{"TB", 1000000000000},
    SizeUnit{"GB", 1000000000},
    SizeUnit{"MB", 1000000},
    SizeUnit{"kB", 1000},
    SizeUnit{"KB", 1000},
    SizeUnit{"B", 1},
};

template <typename T>
std::optional<T> ParseNumber(std::string_view text) {
  T number{};
  const auto read =
      std::from_chars(text.data(), text.data() + text.size(), number);
  if (read.ec != std::errc() || read.ptr != text.data() + text.size())
    return std::nullopt;
  return number;
}

std::optional<uint64_t> ParseSize(std::string_view text) {
  uint64_t factor = 1;
  for (const SizeUnit& unit : kSizeUnits) {
    if (!text.ends_with(unit.name)) continue;
    factor = unit.bytes;
    text.remove_suffix(unit.name.size());
    break;
  }
  const std::optional<uint64_t> number = ParseNumber<uint64_t>(text);
  uint64_t bytes = 0;
  if (!number.has_value() || __builtin_mul_overflow(*number, factor, &bytes))
    return std::nullopt;
  return bytes;
}

std::string FormatSize(uint64_t bytes) {
  for (const SizeUnit& unit : kSizeUnits) {
    if (unit.name.size() == 3 && bytes != 0 && bytes % unit.bytes == 0) {
      return Concat(std::to_string(bytes / unit.bytes), unit.name);
    }
  }
  return std::to_string(bytes);
}

std::string Lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + ('a' - 'A'));
  }
  return lower;
}

// "log_format_" for the enum LogFormat: what its values' names begin with, by
// convention.
std::string EnumPrefix(const EnumDescriptor& type) {
  std::string prefix;
  const std::string& name = type.name();
  for (size_t i = 0; i < name.size(); ++i) {
    const bool upper = name[i] >= 'A' && name[i] <= 'Z';
    const bool after_lower = i > 0 &&
                             !(name[i - 1] >= 'A' && name[i - 1] <= 'Z') &&
                             name[i - 1] != '_';
    if (upper && after_lower) prefix += '_';
    prefix += name[i];
  }
  return Lower(prefix) + "_";
}

// The name of a value on the command line.
std::string ShortName(const EnumValueDescriptor& value) {
  const std::string name = Lower(value.name());
  const std::string prefix = EnumPrefix(*value.type());
  return name.starts_with(prefix) && name.size() > prefix.size()
             ? name.substr(prefix.size())
             : name;
}

// Whether the value only stands for "nothing was chosen".
bool IsUnspecified(const EnumValueDescriptor& value) {
  return value.number() == 0 && ShortName(value) == "unspecified";
}

std::vector<std::string> EnumNames(const EnumDescriptor& type) {
  std::vector<std::string> names;
  for (int i = 0; i < type.value_count(); ++i) {
    if (!IsUnspecified(*type.value(i)))
      names.push_back(ShortName(*type.value(i)));
  }
  return names;
}

std::string Join(const std::vector<std::string>& items,
                 std::string_view separator) {
  std::string text;
  for (const std::string& item : items)
    text += Concat(text.empty() ? "" : separator, item);
  return text;
}

bool IsInteger(const FieldDescriptor& field) {
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
    case FieldDescriptor::CPPTYPE_INT64:
    case FieldDescriptor::CPPTYPE_UINT32:
    case FieldDescriptor::CPPTYPE_UINT64:
      return true;
    default:
      return false;
  }
}

bool IsSigned(const FieldDescriptor& field) {
  return field.cpp_type() == FieldDescriptor::CPPTYPE_INT32 ||
         field.cpp_type() == FieldDescriptor::CPPTYPE_INT64;
}

bool IsOrdered(const FieldDescriptor& field) {
  return IsInteger(field) || IsDuration(field) ||
         field.cpp_type() == FieldDescriptor::CPPTYPE_DOUBLE ||
         field.cpp_type() == FieldDescriptor::CPPTYPE_FLOAT;
}

template <typename T>
std::optional<Value> InRange(std::optional<T> number, T low, T high) {
  if (!number.has_value() || *number < low || *number > high)
    return std::nullopt;
  return Value(*number);
}

std::optional<Value> ParseInteger(const FieldDescriptor& field,
                                  std::string_view text) {
  if (RuleOf(field).size()) {
    const std::optional<uint64_t> bytes = ParseSize(text);
    switch (field.cpp_type()) {
      case FieldDescriptor::CPPTYPE_INT32:
        return InRange<uint64_t>(bytes, 0, std::numeric_limits<int32_t>::max())
                       .has_value()
                   ? std::optional<Value>(static_cast<int64_t>(*bytes))
                   : std::nullopt;
      case FieldDescriptor::CPPTYPE_INT64:
        return InRange<uint64_t>(bytes, 0, std::numeric_limits<int64_t>::max())
                       .has_value()
                   ? std::optional<Value>(static_cast<int64_t>(*bytes))
                   : std::nullopt;
      case FieldDescriptor::CPPTYPE_UINT32:
        return InRange<uint64_t>(bytes, 0,
                                 std::numeric_limits<uint32_t>::max());
      default:
        return InRange<uint64_t>(bytes, 0,
                                 std::numeric_limits<uint64_t>::max());
    }
  }
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return InRange<int64_t>(ParseNumber<int64_t>(text),
                              std::numeric_limits<int32_t>::min(),
                              std::numeric_limits<int32_t>::max());
    case FieldDescriptor::CPPTYPE_INT64:
      return InRange<int64_t>(ParseNumber<int64_t>(text),
                              std::numeric_limits<int64_t>::min(),
                              std::numeric_limits<int64_t>::max());
    case FieldDescriptor::CPPTYPE_UINT32:
      return InRange<uint64_t>(ParseNumber<uint64_t>(text), 0,
                               std::numeric_limits<uint32_t>::max());
    default:
      return InRange<uint64_t>(ParseNumber<uint64_t>(text), 0,
                               std::numeric_limits<uint64_t>::max());
  }
}

std::optional<Value> ParseBool(std::string_view text) {
  const std::string lower = Lower(text);
  if (lower == "true" || lower == "yes" || lower == "on" || lower == "1")
    return Value(true);
  if (lower == "false" || lower == "no" || lower == "off" || lower == "0")
    return Value(false);
  return std::nullopt;
}

std::optional<Value> ParseDuration(std::string_view text) {
  absl::Duration duration;
  if (!absl::ParseDuration(absl::string_view(text.data(), text.size()),
                           &duration))
    return std::nullopt;
  // The range of google.protobuf.Duration: 10,000 years either way.
  constexpr int64_t kMostSeconds = 315'576'000'000;
  if (duration > absl::Seconds(kMostSeconds) ||
      duration < absl::Seconds(-kMostSeconds))
    return std::nullopt;
  return Value(duration);
}

std::optional<Value> ParseEnum(const EnumDescriptor& type,
                               std::string_view text) {
  for (int i = 0; i < type.value_count(); ++i) {
    const EnumValueDescriptor* value = type.value(i);
    if (!IsUnspecified(*value) &&
        (text == value->name() || Lower(text) == ShortName(*value)))
      return Value(value);
  }
  return std::nullopt;
}

bool IsUtf8(std::string_view text) {
  while (!text.empty()) {
    const size_t length = braid::detail::Utf8Length(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

// What a field is that nobody sets.
Value ZeroOf(const FieldDescriptor& field) {
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_BOOL:
      return field.default_value_bool();
    case FieldDescriptor::CPPTYPE_INT32:
      return int64_t{field.default_value_int32()};
    case FieldDescriptor::CPPTYPE_INT64:
      return int64_t{field.default_value_int64()};
    case FieldDescriptor::CPPTYPE_UINT32:
      return uint64_t{field.default_value_uint32()};
    case FieldDescriptor::CPPTYPE_UINT64:
      return uint64_t{field.default_value_uint64()};
    case FieldDescriptor::CPPTYPE_FLOAT:
      return double{field.default_value_float()};
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return field.default_value_double();
    case FieldDescriptor::CPPTYPE_STRING:
      return field.default_value_string();
    case FieldDescriptor::CPPTYPE_ENUM:
      return field.default_value_enum();
    case FieldDescriptor::CPPTYPE_MESSAGE:
      break;
  }
  return absl::ZeroDuration();
}

// The bound that the schema or the type gives, as text; empty if there is none
// worth naming.
std::string Low(const FieldDescriptor& field) {
  if (const std::string& min = RuleOf(field).min(); !min.empty()) return min;
  if (field.cpp_type() == FieldDescriptor::CPPTYPE_INT32 &&
      !RuleOf(field).size())
    return "-2147483648";
  if (IsInteger(field) && (!IsSigned(field) || RuleOf(field).size()))
    return "0";
  return "";
}

std::string High(const FieldDescriptor& field) {
  if (const std::string& max = RuleOf(field).max(); !max.empty()) return max;
  if (field.cpp_type() == FieldDescriptor::CPPTYPE_INT32) return "2147483647";
  if (field.cpp_type() == FieldDescriptor::CPPTYPE_UINT32) return "4294967295";
  return "";
}

std::string WithRange(std::string what, const FieldDescriptor& field) {
  const std::string low = Low(field);
  const std::string high = High(field);
  if (!low.empty() && !high.empty())
    return Concat(what, " from ", low, " to ", high);
  if (!low.empty()) return Concat(what, " of at least ", low);
  if (!high.empty()) return Concat(what, " of at most ", high);
  return what;
}

}  // namespace

const Flag& RuleOf(const FieldDescriptor& field) {
  return field.options().GetExtension(flag);
}

bool IsDuration(const FieldDescriptor& field) {
  return field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE &&
         field.message_type()->full_name() == "google.protobuf.Duration";
}

bool IsLeaf(const FieldDescriptor& field) {
  return field.cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE ||
         IsDuration(field);
}

std::optional<Value> ParseValue(const FieldDescriptor& field,
                                std::string_view text) {
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_BOOL:
      return ParseBool(text);
    case FieldDescriptor::CPPTYPE_FLOAT:
    case FieldDescriptor::CPPTYPE_DOUBLE: {
      const std::optional<double> number = ParseNumber<double>(text);
      return number.has_value() ? std::optional<Value>(*number) : std::nullopt;
    }
    case FieldDescriptor::CPPTYPE_STRING:
      if (field.type() == FieldDescriptor::TYPE_STRING && !IsUtf8(text))
        return std::nullopt;
      return Value(std::string(text));
    case FieldDescriptor::CPPTYPE_ENUM:
      return ParseEnum(*field.enum_type(), text);
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return IsDuration(field) ? ParseDuration(text) : std::nullopt;
    default:
      return ParseInteger(field, text);
  }
}

std::string FormatValue(const FieldDescriptor& field, const Value& value) {
  struct Formatter {
    const FieldDescriptor& field;
    std::string operator()(bool b) const { return b ? "true" : "false"; }
    std::string operator()(int64_t number) const {
      return RuleOf(field).size() && number >= 0
                 ? FormatSize(static_cast<uint64_t>(number))
                 : std::to_string(number);
    }
    std::string operator()(uint64_t number) const {
      return RuleOf(field).size() ? FormatSize(number) : std::to_string(number);
    }
    std::string operator()(double number) const {
      std::string text;
      if (field.cpp_type() == FieldDescriptor::CPPTYPE_FLOAT &&
          std::isfinite(number)) {
        std::array<char, 32> buffer;
        const auto end =
            std::to_chars(buffer.data(), buffer.data() + buffer.size(),
                          static_cast<float>(number));
        return std::string(buffer.data(), end.ptr);
      }
      if (std::isinf(number)) return number > 0 ? "inf" : "-inf";
      AppendDouble(text, number);
      return text;
    }
    std::string operator()(const std::string& text) const { return text; }
    std::string operator()(const EnumValueDescriptor* named) const {
      return ShortName(*named);
    }
    std::string operator()(absl::Duration duration) const {
      return absl::FormatDuration(duration);
    }
  };
  return std::visit(Formatter{field}, value);
}

std::optional<Value> GetValue(const Message& message,
                              const FieldDescriptor& field, int index) {
  const Reflection& reflection = *message.GetReflection();
  const FieldDescriptor* f = &field;
  const bool repeated = field.is_repeated();
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_BOOL:
      return Value(repeated ? reflection.GetRepeatedBool(message, f, index)
                            : reflection.GetBool(message, f));
    case FieldDescriptor::CPPTYPE_INT32:
      return Value(int64_t{repeated
                               ? reflection.GetRepeatedInt32(message, f, index)
                               : reflection.GetInt32(message, f)});
    case FieldDescriptor::CPPTYPE_INT64:
      return Value(int64_t{repeated
                               ? reflection.GetRepeatedInt64(message, f, index)
                               : reflection.GetInt64(message, f)});
    case FieldDescriptor::CPPTYPE_UINT32:
      return Value(
          uint64_t{repeated ? reflection.GetRepeatedUInt32(message, f, index)
                            : reflection.GetUInt32(message, f)});
    case FieldDescriptor::CPPTYPE_UINT64:
      return Value(
          uint64_t{repeated ? reflection.GetRepeatedUInt64(message, f, index)
                            : reflection.GetUInt64(message, f)});
    case FieldDescriptor::CPPTYPE_FLOAT:
      return Value(double{repeated
                              ? reflection.GetRepeatedFloat(message, f, index)
                              : reflection.GetFloat(message, f)});
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return Value(repeated ? reflection.GetRepeatedDouble(message, f, index)
                            : reflection.GetDouble(message, f));
    case FieldDescriptor::CPPTYPE_STRING:
      return Value(repeated ? reflection.GetRepeatedString(message, f, index)
                            : reflection.GetString(message, f));
    case FieldDescriptor::CPPTYPE_ENUM: {
      const int number =
          repeated ? reflection.GetRepeatedEnumValue(message, f, index)
                   : reflection.GetEnumValue(message, f);
      const EnumValueDescriptor* value =
          field.enum_type()->FindValueByNumber(number);
      return value == nullptr ? std::nullopt : std::optional<Value>(value);
    }
    case FieldDescriptor::CPPTYPE_MESSAGE:
      break;
  }
  const auto& duration = static_cast<const google::protobuf::Duration&>(
      repeated ? reflection.GetRepeatedMessage(message, f, index)
               : reflection.GetMessage(message, f));
  const int64_t seconds = duration.seconds();
  const int32_t nanos = duration.nanos();
  if (nanos <= -1'000'000'000 || nanos >= 1'000'000'000 ||
      (seconds > 0 && nanos < 0) || (seconds < 0 && nanos > 0) ||
      seconds > 315'576'000'000 || seconds < -315'576'000'000) {
    return std::nullopt;
  }
  return Value(absl::Seconds(seconds) + absl::Nanoseconds(nanos));
}

void PutValue(Message& message, const FieldDescriptor& field,
              const Value& value) {
  const Reflection& reflection = *message.GetReflection();
  const FieldDescriptor* f = &field;
  const bool add = field.is_repeated();
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_BOOL:
      return add ? reflection.AddBool(&message, f, std::get<bool>(value))
                 : reflection.SetBool(&message, f, std::get<bool>(value));
    case FieldDescriptor::CPPTYPE_INT32: {
      const auto number = static_cast<int32_t>(std::get<int64_t>(value));
      return add ? reflection.AddInt32(&message, f, number)
                 : reflection.SetInt32(&message, f, number);
    }
    case FieldDescriptor::CPPTYPE_INT64:
      return add ? reflection.AddInt64(&message, f, std::get<int64_t>(value))
                 : reflection.SetInt64(&message, f, std::get<int64_t>(value));
    case FieldDescriptor::CPPTYPE_UINT32: {
      const auto number = static_cast<uint32_t>(std::get<uint64_t>(value));
      return add ? reflection.AddUInt32(&message, f, number)
                 : reflection.SetUInt32(&message, f, number);
    }
    case FieldDescriptor::CPPTYPE_UINT64:
      return add ? reflection.AddUInt64(&message, f, std::get<uint64_t>(value))
                 : reflection.SetUInt64(&message, f, std::get<uint64_t>(value));
    case FieldDescriptor::CPPTYPE_FLOAT: {
      const auto number = static_cast<float>(std::get<double>(value));
      return add ? reflection.AddFloat(&message, f, number)
                 : reflection.SetFloat(&message, f, number);
    }
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return add ? reflection.AddDouble(&message, f, std::get<double>(value))
                 : reflection.SetDouble(&message, f, std::get<double>(value));
    case FieldDescriptor::CPPTYPE_STRING:
      return add ? reflection.AddString(&message, f,
                                        std::get<std::string>(value))
                 : reflection.SetString(&message, f,
                                        std::get<std::string>(value));
    case FieldDescriptor::CPPTYPE_ENUM:
      return add ? reflection.AddEnum(
                       &message, f, std::get<const EnumValueDescriptor*>(value))
                 : reflection.SetEnum(
                       &message, f,
                       std::get<const EnumValueDescriptor*>(value));
    case FieldDescriptor::CPPTYPE_MESSAGE:
      break;
  }
  auto& duration = static_cast<google::protobuf::Duration&>(
      add ? *reflection.AddMessage(&message, f)
          : *reflection.MutableMessage(&message, f));
  absl::Duration rest;
  duration.set_seconds(absl::IDivDuration(std::get<absl::Duration>(value),
                                          absl::Seconds(1), &rest));
  duration.set_nanos(static_cast<int32_t>(rest / absl::Nanoseconds(1)));
}

bool IsAllowed(const FieldDescriptor& field, const Value& value) {
  if (const double* number = std::get_if<double>(&value);
      number != nullptr && std::isnan(*number))
    return false;
  if (field.type() == FieldDescriptor::TYPE_STRING &&
      !IsUtf8(std::get<std::string>(value)))
    return false;
  const Flag& rule = RuleOf(field);
  // RuleProblem has made sure that these are values of the field.
  if (!rule.min().empty() && value < *ParseValue(field, rule.min()))
    return false;
  if (!rule.max().empty() && value > *ParseValue(field, rule.max()))
    return false;
  if (rule.allowed().empty()) return true;
  return std::any_of(rule.allowed().begin(), rule.allowed().end(),
                     [&](const std::string& allowed) {
                       return value == *ParseValue(field, allowed);
                     });
}

std::string Allowed(const FieldDescriptor& field) {
  const Flag& rule = RuleOf(field);
  if (!rule.allowed().empty()) {
    return Concat("one of ",
                  Join({rule.allowed().begin(), rule.allowed().end()}, ", "));
  }
  if (IsInteger(field))
    return WithRange(
        rule.size() ? "a size such as 512, 64KiB or 10MB" : "a whole number",
        field);
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_BOOL:
      return "true or false";
    case FieldDescriptor::CPPTYPE_ENUM:
      return Concat("one of ", Join(EnumNames(*field.enum_type()), ", "));
    case FieldDescriptor::CPPTYPE_STRING:
      return field.type() == FieldDescriptor::TYPE_STRING ? "UTF-8 text"
                                                          : "bytes";
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return IsDuration(field)
                 ? WithRange("a duration such as 1.5s or 2m", field)
                 : Concat(field.message_type()->name(),
                          " in protobuf text format");
    default:
      return WithRange("a number", field);
  }
}

std::string Placeholder(const FieldDescriptor& field) {
  constexpr size_t kLongest = 40;
  std::string names;
  if (field.cpp_type() == FieldDescriptor::CPPTYPE_ENUM)
    names = Join(EnumNames(*field.enum_type()), "|");
  if (const Flag& rule = RuleOf(field); !rule.allowed().empty()) {
    names = Join({rule.allowed().begin(), rule.allowed().end()}, "|");
  }
  if (!names.empty() && names.size() <= kLongest) return names;
  if (IsInteger(field)) return RuleOf(field).size() ? "SIZE" : "NUMBER";
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_BOOL:
      return "BOOL";
    case FieldDescriptor::CPPTYPE_ENUM:
      return "NAME";
    case FieldDescriptor::CPPTYPE_STRING:
      return "TEXT";
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return IsDuration(field) ? "DURATION" : "MESSAGE";
    default:
      return "NUMBER";
  }
}

std::string RuleProblem(const FieldDescriptor& field) {
  const Flag& rule = RuleOf(field);
  if (!IsLeaf(field)) {
    const bool bare = rule.default_().empty() && rule.min().empty() &&
                      rule.max().empty() && rule.allowed().empty() &&
                      !rule.size() && !rule.secret();
    return bare ? ""
                : "default, min, max, allowed, size and secret belong on the "
                  "fields of the message";
  }
  if (rule.help().empty()) return "help is missing";
  if (rule.size() && !IsInteger(field)) return "size is for integers";
  if ((!rule.min().empty() || !rule.max().empty()) && !IsOrdered(field)) {
    return "min and max are for numbers, sizes and durations";
  }
  if (rule.required() && !rule.default_().empty())
    return "a required field has no default";
  std::vector<std::string> values = {rule.min(), rule.max(), rule.default_()};
  values.insert(values.end(), rule.allowed().begin(), rule.allowed().end());
  for (const std::string& value : values) {
    if (!value.empty() && !ParseValue(field, value).has_value()) {
      return Concat("\"", value, "\" in its options is not ", Allowed(field));
    }
  }
  if (!rule.default_().empty() &&
      !IsAllowed(field, *ParseValue(field, rule.default_()))) {
    return Concat("the default \"", rule.default_(), "\" is not ",
                  Allowed(field));
  }
  if (rule.default_().empty() && !rule.required() && !field.is_repeated() &&
      !field.has_presence() && !IsAllowed(field, ZeroOf(field))) {
    return "it needs a default, or has to be required or optional: what it is "
           "unless somebody sets it is not allowed";
  }
  return "";
}

}  // namespace braid::service::detail
