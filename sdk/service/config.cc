#include "braid/service/config.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/message.h>
#include <google/protobuf/text_format.h>

#include <algorithm>
#include <map>
#include <set>

#include "braid/core/check.h"
#include "braid/metrics/detail/text.h"
#include "braid/service/detail/field_value.h"
#include "braid/service/flag.pb.h"

namespace braid::service {
namespace {

using braid::detail::Concat;
using braid::detail::OneLine;
using detail::Allowed;
using detail::FormatValue;
using detail::GetValue;
using detail::IsDuration;
using detail::IsLeaf;
using detail::ParseValue;
using detail::PutValue;
using detail::RuleOf;
using detail::Value;
using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;
using google::protobuf::TextFormat;

constexpr int kDeepestMessage = 32;
constexpr std::string_view kSecret = "(secret)";

// A field that has a flag.
struct FlagField {
  std::string path;
  std::vector<const FieldDescriptor*>
      parents;  // the messages around it, outermost first
  const FieldDescriptor* field;
};

std::string Join(std::string_view prefix, std::string_view name) {
  return prefix.empty() ? std::string(name) : Concat(prefix, ".", name);
}

std::string Indexed(std::string_view path, int index) {
  return Concat(path, "[", std::to_string(index), "]");
}

// Messages whose fields are nobody's flags: maps, and what comes with protobuf.
bool IsOpaque(const FieldDescriptor& field) {
  return !IsLeaf(field) &&
         (field.is_map() ||
          field.message_type()->file()->package() == "google.protobuf");
}

// A message that exists even if nothing mentions it.
bool IsAlwaysThere(const FieldDescriptor& field) {
  return !IsLeaf(field) && !IsOpaque(field) && !field.is_repeated() &&
         !field.has_optional_keyword() &&
         field.real_containing_oneof() == nullptr;
}

// Appends the flags of a message; the problem of the first field that can't be
// one to `problem`.
void AddFlags(const Descriptor& type, const std::string& prefix,
              std::vector<const FieldDescriptor*>& parents,
              std::vector<FlagField>& flags, std::string& problem) {
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor& field = *type.field(i);
    const std::string path = Join(prefix, field.name());
    if (std::string found = detail::RuleProblem(field);
        !found.empty() && problem.empty()) {
      problem = Concat(path, ": ", found);
    }
    if (parents.empty() &&
        (field.name() == "help" || field.name() == "version" ||
         field.name() == "config") &&
        problem.empty()) {
      problem = Concat(path, ": the flag --", path,
                       " has a meaning of its own; rename the field");
    }
    if (!IsAlwaysThere(field)) flags.push_back({path, parents, &field});
    if (IsLeaf(field) || IsOpaque(field)) continue;
    const bool contains_itself =
        field.message_type() == &type ||
        std::any_of(parents.begin(), parents.end(),
                    [&](const FieldDescriptor* parent) {
                      return parent->containing_type() == field.message_type();
                    });
    if (contains_itself) {
      if (problem.empty())
        problem = Concat(path, ": a configuration can't contain itself");
      continue;
    }
    // Elements of a repeated message have no flags of their own, but rules.
    std::vector<FlagField> inner;
    parents.push_back(&field);
    AddFlags(*field.message_type(), path, parents,
             field.is_repeated() ? inner : flags, problem);
    parents.pop_back();
  }
}

bool IsNameCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         (c >= '0' && c <= '9') || c == '_';
}

// Keeps the first error of a text.
class FirstError final : public google::protobuf::io::ErrorCollector {
 public:
  void AddError(int line, int column, const std::string& message) override {
    if (!message_.empty()) return;
    line_ = line;
    column_ = column;
    // Counted from 0; -1 where there is no place.
    place_ = line < 0 ? ""
                      : Concat(std::to_string(line + 1), ":",
                               std::to_string(column + 1), ": ");
    braid::detail::AppendUtf8(message_, message, 500);
    std::replace_if(
        message_.begin(), message_.end(),
        [](char c) { return static_cast<unsigned char>(c) < 0x20; }, '?');
  }

  const std::string& place() const { return place_; }
  const std::string& message() const { return message_; }
  // Where in `text` it is; the end if it has no place.
  size_t Offset(std::string_view text) const {
    size_t at = line_ < 0 ? text.size() : 0;
    for (int line = 0; line < line_; ++line)
      at = std::min(text.find('\n', at), text.size() - 1) + 1;
    // The tokenizer's tabs are eight columns wide.
    for (int column = 0; column < column_ && at < text.size(); ++at)
      column += text[at] == '\t' ? 8 - column % 8 : 1;
    return std::min(at, text.size());
  }

 private:
  int line_ = -1;
  int column_ = 0;
  std::string place_;
  std::string message_;
};

// The path of the field whose value begins at the end of `text`, which is
// protobuf text format; empty if none does.
std::string FieldAtEnd(std::string_view text) {
  std::vector<std::string> names = {""};  // the last in each open message
  bool colon = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == ' ' || c == '\t' || c == '\r' || c == '\n') continue;
    if (c == '#') {
      i = std::min(text.find('\n', i), text.size());
      continue;
    }
    colon = c == ':';
    if (c == '"' || c == '\'') {
      for (++i; i < text.size() && text[i] != c; ++i) i += text[i] == '\\';
    } else if (c == '{' || c == '<') {
      names.emplace_back();
    } else if (c == '}' || c == '>') {
      names.pop_back();
      if (names.empty()) return "";
    } else if (IsNameCharacter(c)) {
      const size_t begin = i;
      while (i + 1 < text.size() && IsNameCharacter(text[i + 1])) ++i;
      names.back() = text.substr(begin, i + 1 - begin);
    }
  }
  std::string path;
  for (const std::string& name : names) path = Join(path, name);
  return colon ? path : "";
}

// The candidate that `name` was probably meant to be; empty if none is near.
std::string Nearest(std::string_view name,
                    const std::vector<std::string>& candidates) {
  std::string nearest;
  size_t best = std::max<size_t>(1, name.size() / 3) + 1;
  if (name.size() > 200) return nearest;
  for (const std::string& candidate : candidates) {
    // The last part alone is what people remember.
    const size_t distance = candidate.ends_with(Concat(".", name))
                                ? 0
                                : braid::detail::EditDistance(name, candidate);
    if (distance < best) {
      best = distance;
      nearest = candidate;
    }
  }
  return nearest;
}

// protobuf's message about an unknown field, with the one that was probably
// meant.
std::string WithSuggestion(const std::string& message, const Descriptor& root) {
  // Message type "a.B" has no field named "c".
  constexpr std::string_view kType = "Message type \"";
  constexpr std::string_view kField = "\" has no field named \"";
  const size_t type_end = message.find(kField);
  if (!message.starts_with(kType) || type_end == std::string::npos)
    return message;
  const std::string type =
      message.substr(kType.size(), type_end - kType.size());
  std::string name = message.substr(type_end + kField.size());
  name = name.substr(0, name.find('"'));
  const Descriptor* descriptor =
      root.file()->pool()->FindMessageTypeByName(type);
  std::vector<std::string> fields;
  for (int i = 0; descriptor != nullptr && i < descriptor->field_count(); ++i)
    fields.push_back(descriptor->field(i)->name());
  const std::string nearest = Nearest(name, fields);
  return Concat("no field is called ", name,
                nearest.empty() ? "" : Concat("; did you mean ", nearest, "?"));
}

// All of one field, from a message of the same type.
void CopyField(const Message& from, const FieldDescriptor& field, Message& to) {
  const std::unique_ptr<Message> only(from.New());
  only->CopyFrom(from);
  std::vector<const FieldDescriptor*> set;
  from.GetReflection()->ListFields(from, &set);
  for (const FieldDescriptor* other : set) {
    if (other != &field) only->GetReflection()->ClearField(only.get(), other);
  }
  to.MergeFrom(*only);
}

bool IsSet(const Message& message, const FieldDescriptor& field) {
  const Reflection& reflection = *message.GetReflection();
  return field.is_repeated() ? reflection.FieldSize(message, &field) > 0
                             : reflection.HasField(message, &field);
}

void HideSecrets(Message& message) {
  const Reflection& reflection = *message.GetReflection();
  std::vector<const FieldDescriptor*> set;
  reflection.ListFields(message, &set);
  for (const FieldDescriptor* field : set) {
    if (IsLeaf(*field)) {
      if (!RuleOf(*field).secret()) continue;
      reflection.ClearField(&message, field);
      if (field->cpp_type() == FieldDescriptor::CPPTYPE_STRING)
        PutValue(message, *field, std::string(kSecret));
    } else if (IsOpaque(*field)) {
      continue;
    } else if (field->is_repeated()) {
      for (int i = 0; i < reflection.FieldSize(message, field); ++i) {
        HideSecrets(*reflection.MutableRepeatedMessage(&message, field, i));
      }
    } else {
      HideSecrets(*reflection.MutableMessage(&message, field));
    }
  }
}

std::string FormatMessage(const Message& message) {
  const std::unique_ptr<Message> copy(message.New());
  copy->CopyFrom(message);
  HideSecrets(*copy);
  std::string text;
  TextFormat::Printer printer;
  printer.SetSingleLineMode(true);
  printer.SetUseUtf8StringEscaping(true);
  printer.PrintToString(*copy, &text);
  while (text.ends_with(' ')) text.pop_back();
  return Concat("{", text, "}");
}

// A value that is no Value: what protobuf can say about it.
std::string FormatRaw(const Message& message, const FieldDescriptor& field,
                      int index) {
  std::string text;
  TextFormat::PrintFieldValueToString(message, &field,
                                      field.is_repeated() ? index : -1, &text);
  std::replace(text.begin(), text.end(), '\n', ' ');
  while (text.ends_with(' ')) text.pop_back();
  return IsDuration(field) ? Concat("{", text, "}") : text;
}

// One element (or the singular value) as it is shown; secrets are not hidden.
std::string FormatElement(const Message& message, const FieldDescriptor& field,
                          int index) {
  if (IsLeaf(field)) {
    const std::optional<Value> value = GetValue(message, field, index);
    return value.has_value() ? FormatValue(field, *value)
                             : FormatRaw(message, field, index);
  }
  const Reflection& reflection = *message.GetReflection();
  return FormatMessage(
      field.is_repeated()
          ? reflection.GetRepeatedMessage(message, &field, index)
          : reflection.GetMessage(message, &field));
}

std::string FormatField(const Message& message, const FieldDescriptor& field) {
  if (!field.is_repeated()) return FormatElement(message, field, -1);
  if (field.is_map()) {
    // As protobuf prints it: sorted by key.
    const std::unique_ptr<Message> only(message.New());
    if (IsSet(message, field)) CopyField(message, field, *only);
    return FormatMessage(*only);
  }
  std::string list;
  for (int i = 0; i < message.GetReflection()->FieldSize(message, &field);
       ++i) {
    list += Concat(i == 0 ? "" : ", ", FormatElement(message, field, i));
  }
  return Concat("[", list, "]");
}

std::string Upper(std::string_view text) {
  std::string upper(text);
  for (char& c : upper) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - ('a' - 'A'));
    if (c == '.') c = '_';
  }
  return upper;
}

absl::Status MustBe(std::string_view where, std::string_view allowed) {
  return absl::InvalidArgumentError(Concat(where, ": must be ", allowed));
}

// One configuration on its way.
class Maker {
 public:
  Maker(const std::vector<FlagField>& flags, Message& config)
      : flags_(flags), config_(config) {}

  absl::Status ReadFile(const ConfigFile& file) {
    TextFormat::ParseInfoTree tree;
    FirstError error;
    if (!Parser(tree, error).ParseFromString(file.text, &config_)) {
      const std::string where = Concat(
          OneLine(file.name), ":", error.place().empty() ? " " : error.place());
      if (std::optional<absl::Status> wrong = WrongValue(error, file, where))
        return *wrong;
      return absl::InvalidArgumentError(Concat(
          where, WithSuggestion(error.message(), *config_.GetDescriptor())));
    }
    NoteOrigins(tree, config_, "", OneLine(file.name) + ":");
    return absl::OkStatus();
  }

  absl::Status ReadEnvironment(const ConfigEnvironment& environment) {
    if (environment.lookup == nullptr) return absl::OkStatus();
    for (const FlagField& flag : flags_) {
      const std::string name =
          Concat(Upper(environment.prefix), "_", Upper(flag.path));
      const std::optional<std::string> text = environment.lookup(name);
      if (!text.has_value()) continue;
      Message& message = Replace(flag);
      if (!flag.field->is_repeated() || !IsLeaf(*flag.field)) {
        if (absl::Status status = Set(flag, message, *text, name); !status.ok())
          return status;
        continue;
      }
      for (std::string_view rest = *text; !rest.empty();) {
        const size_t comma = std::min(rest.find(','), rest.size());
        if (absl::Status status =
                Set(flag, message, rest.substr(0, comma), name);
            !status.ok())
          return status;
        rest.remove_prefix(std::min(comma + 1, rest.size()));
      }
    }
    return absl::OkStatus();
  }

  absl::Status ReadFlags(
      const std::vector<std::pair<std::string, std::string>>& given) {
    std::set<std::string> seen;
    for (const auto& [path, text] : given) {
      const auto flag =
          std::find_if(flags_.begin(), flags_.end(),
                       [&](const FlagField& f) { return f.path == path; });
      braid::detail::Check(
          flag != flags_.end(),
          "a command line was parsed with another schema than it is used with");
      Message& message =
          seen.insert(path).second ? Replace(*flag) : Parent(*flag);
      if (absl::Status status = Set(*flag, message, text, "--" + path);
          !status.ok())
        return status;
    }
    return absl::OkStatus();
  }

  void FillDefaults(const Message& defaults) {
    FillDefaults(config_, &defaults, "");
  }

  absl::Status Check() const { return Check(config_, ""); }

 private:
  // Where a value comes from, for a message about it.
  struct Origin {
    std::string where;
    bool with_value;  // `where` has the value in it, as it was given
  };

  static TextFormat::Parser Parser(TextFormat::ParseInfoTree& tree,
                                   FirstError& error) {
    TextFormat::Parser parser;
    parser.RecordErrorsTo(&error);
    parser.WriteLocationsTo(&tree);
    parser.SetRecursionLimit(kDeepestMessage);
    parser.AllowPartialMessage(true);
    return parser;
  }

  // Of a value that is of another type than its field, protobuf says only what
  // it expected ("Expected integer, got: x"): this says of which field, and
  // what is allowed. Nothing if the error is another.
  std::optional<absl::Status> WrongValue(const FirstError& error,
                                         const ConfigFile& file,
                                         std::string_view where) const {
    const std::string_view text = file.text;
    const size_t at = error.Offset(text);
    const std::string path = FieldAtEnd(text.substr(0, at));
    const auto found =
        std::find_if(flags_.begin(), flags_.end(),
                     [&](const FlagField& flag) { return flag.path == path; });
    if (found == flags_.end() || !IsLeaf(*found->field)) return std::nullopt;
    std::string_view value = text.substr(at);
    value = value.substr(0, value.find_first_of(" \t\r\n;,}>#"));
    const FieldDescriptor& field = *found->field;
    const bool text_field = field.cpp_type() == FieldDescriptor::CPPTYPE_STRING;
    const bool quoted = value.starts_with('"') || value.starts_with('\'');
    // protobuf says it all; or the error is inside the quotes.
    if (field.cpp_type() == FieldDescriptor::CPPTYPE_ENUM ||
        (text_field && quoted)) {
      return std::nullopt;
    }
    return MustBe(
        Concat(where, found->path, "=",
               RuleOf(field).secret() ? std::string(kSecret) : OneLine(value)),
        text_field ? Concat(Allowed(field), ", in quotes")
        : IsDuration(field)
            ? Concat(Allowed(field),
                     ", written { seconds: 1 nanos: 500000000 }")
        : RuleOf(field).size()
            ? Concat(Allowed(field), ", here in bytes without a unit")
            : Allowed(field));
  }

  // Notes what a text has set in `message`. `place` comes before the line
  // number.
  void NoteOrigins(const TextFormat::ParseInfoTree& tree,
                   const Message& message, const std::string& prefix,
                   const std::string& place) {
    const Reflection& reflection = *message.GetReflection();
    const Descriptor& type = *message.GetDescriptor();
    for (int f = 0; f < type.field_count(); ++f) {
      const FieldDescriptor& field = *type.field(f);
      if (field.is_map()) continue;
      const int count =
          field.is_repeated() ? reflection.FieldSize(message, &field) : 1;
      TextFormat::ParseLocation location;
      for (int i = 0; i < count; ++i) {
        const int index = field.is_repeated() ? i : -1;
        // Of a list in brackets only the first element has a place.
        if (const auto own = tree.GetLocation(&field, index); own.line >= 0)
          location = own;
        if (location.line < 0) continue;
        const std::string path =
            Join(prefix,
                 field.is_repeated() ? Indexed(field.name(), i) : field.name());
        origins_[path] = {
            Concat(place, std::to_string(location.line + 1), ":",
                   std::to_string(location.column + 1), ": ", path),
            false};
        if (IsLeaf(field) || IsOpaque(field)) continue;
        const Message& nested =
            field.is_repeated()
                ? reflection.GetRepeatedMessage(message, &field, i)
                : reflection.GetMessage(message, &field);
        if (const TextFormat::ParseInfoTree* inner =
                tree.GetTreeForNested(&field, index)) {
          NoteOrigins(*inner, nested, path, place);
        }
      }
    }
  }

  // The message that has the field of the flag.
  Message& Parent(const FlagField& flag) {
    Message* message = &config_;
    for (const FieldDescriptor* parent : flag.parents)
      message = message->GetReflection()->MutableMessage(message, parent);
    return *message;
  }

  // The same, after a weaker source's list has been cleared.
  Message& Replace(const FlagField& flag) {
    Message& message = Parent(flag);
    if (flag.field->is_repeated()) {
      message.GetReflection()->ClearField(&message, flag.field);
      std::erase_if(origins_, [&](const auto& origin) {
        return origin.first.starts_with(flag.path + "[");
      });
      origins_[flag.path] = {"", false};  // an empty list is a value, too
    }
    return message;
  }

  // Sets, or appends, what `text` says. `source` is "--flag" or "VARIABLE".
  absl::Status Set(const FlagField& flag, Message& message,
                   std::string_view text, const std::string& source) {
    const FieldDescriptor& field = *flag.field;
    const Reflection& reflection = *message.GetReflection();
    const std::string where =
        Concat(source, "=",
               RuleOf(field).secret() ? std::string(kSecret) : OneLine(text));
    const std::string path =
        field.is_repeated()
            ? Indexed(flag.path, reflection.FieldSize(message, &field))
            : flag.path;
    if (IsLeaf(field)) {
      const std::optional<Value> value = ParseValue(field, text);
      if (!value.has_value()) return MustBe(where, Allowed(field));
      PutValue(message, field, *value);
      origins_[path] = {where, true};
      return absl::OkStatus();
    }
    Message& nested = field.is_repeated()
                          ? *reflection.AddMessage(&message, &field)
                          : *reflection.MutableMessage(&message, &field);
    TextFormat::ParseInfoTree tree;
    FirstError error;
    if (!Parser(tree, error).MergeFromString(std::string(text), &nested)) {
      return MustBe(where, Concat(Allowed(field), " (", error.place(),
                                  WithSuggestion(error.message(),
                                                 *config_.GetDescriptor()),
                                  ")"));
    }
    origins_[path] = {where, true};
    if (!IsOpaque(field)) NoteOrigins(tree, nested, path, Concat(source, ": "));
    return absl::OkStatus();
  }

  void FillDefaults(Message& message, const Message* defaults,
                    const std::string& prefix) {
    const Reflection& reflection = *message.GetReflection();
    const Descriptor& type = *message.GetDescriptor();
    for (int f = 0; f < type.field_count(); ++f) {
      const FieldDescriptor& field = *type.field(f);
      const std::string path = Join(prefix, field.name());
      const bool set = origins_.contains(path) ||
                       (!IsLeaf(field) && IsSet(message, field)) ||
                       (field.is_repeated() && IsSet(message, field));
      const bool has_default = defaults != nullptr && IsSet(*defaults, field);
      if (IsLeaf(field) || IsOpaque(field) || field.is_repeated()) {
        if (!set) {
          const OneofGuard guard{message, field};
          if (guard.taken()) continue;
          if (has_default) {
            CopyField(*defaults, field, message);
          } else if (IsLeaf(field) && !RuleOf(field).default_().empty()) {
            PutValue(message, field,
                     *ParseValue(field, RuleOf(field).default_()));
          }
        }
        if (IsLeaf(field) || IsOpaque(field)) continue;
        for (int i = 0; i < reflection.FieldSize(message, &field); ++i) {
          FillDefaults(*reflection.MutableRepeatedMessage(&message, &field, i),
                       nullptr, Indexed(path, i));
        }
        continue;
      }
      const OneofGuard guard{message, field};
      if (!set && (guard.taken() || (!IsAlwaysThere(field) && !has_default)))
        continue;
      FillDefaults(*reflection.MutableMessage(&message, &field),
                   has_default ? &defaults->GetReflection()->GetMessage(
                                     *defaults, &field)
                               : nullptr,
                   path);
    }
  }

  // Whether another member of the field's oneof is set: then the field's
  // default is not wanted.
  struct OneofGuard {
    const Message& message;
    const FieldDescriptor& field;
    bool taken() const {
      const auto* oneof = field.real_containing_oneof();
      return oneof != nullptr &&
             message.GetReflection()->HasOneof(message, oneof);
    }
  };

  absl::Status Check(const Message& message, const std::string& prefix) const {
    const Reflection& reflection = *message.GetReflection();
    const Descriptor& type = *message.GetDescriptor();
    for (int f = 0; f < type.field_count(); ++f) {
      const FieldDescriptor& field = *type.field(f);
      const std::string path = Join(prefix, field.name());
      if (RuleOf(field).required() && !origins_.contains(path) &&
          !IsSet(message, field)) {
        return absl::InvalidArgumentError(
            Concat("--", path, " is required and not set; it must be ",
                   Allowed(field), ": ", RuleOf(field).help()));
      }
      if (IsOpaque(field)) continue;
      const int count =
          field.is_repeated() ? reflection.FieldSize(message, &field) : 1;
      for (int i = 0; i < count; ++i) {
        const std::string element =
            field.is_repeated() ? Indexed(path, i) : path;
        if (IsLeaf(field)) {
          if (absl::Status status = CheckValue(message, field, i, element);
              !status.ok())
            return status;
        } else if (field.is_repeated()) {
          if (absl::Status status = Check(
                  reflection.GetRepeatedMessage(message, &field, i), element);
              !status.ok()) {
            return status;
          }
        } else if (reflection.HasField(message, &field)) {
          if (absl::Status status =
                  Check(reflection.GetMessage(message, &field), element);
              !status.ok())
            return status;
        }
      }
    }
    return absl::OkStatus();
  }

  absl::Status CheckValue(const Message& message, const FieldDescriptor& field,
                          int index, const std::string& path) const {
    // What nothing has set, and has no default, is not judged.
    const auto origin = origins_.find(path);
    if (origin == origins_.end() && !IsSet(message, field))
      return absl::OkStatus();
    const std::optional<Value> value = GetValue(message, field, index);
    if (value.has_value() && detail::IsAllowed(field, *value))
      return absl::OkStatus();
    if (origin != origins_.end() && origin->second.with_value)
      return MustBe(origin->second.where, Allowed(field));
    const std::string shown =
        RuleOf(field).secret() ? std::string(kSecret)
                               : OneLine(FormatElement(message, field, index));
    return MustBe(
        Concat(origin == origins_.end() ? Concat("the default of ", path)
                                        : origin->second.where,
               "=", shown),
        Allowed(field));
  }

  const std::vector<FlagField>& flags_;
  Message& config_;
  // By path: "limits.rate", "listen[0]". What has one was set by somebody, be
  // it to the type's zero.
  std::map<std::string, Origin> origins_;
};

// Appends `text` in lines of at most 80 columns, each after `indent`.
void Wrap(std::string_view text, std::string_view indent, std::string& out) {
  constexpr size_t kColumns = 80;
  std::string line;
  const auto end_line = [&] {
    if (!line.empty()) out += Concat(indent, line, "\n");
    line.clear();
  };
  while (!text.empty()) {
    const size_t end = std::min(text.find_first_of(" \n"), text.size());
    const std::string_view word = text.substr(0, end);
    if (!line.empty() &&
        indent.size() + line.size() + 1 + word.size() > kColumns)
      end_line();
    if (!word.empty()) line += Concat(line.empty() ? "" : " ", word);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  end_line();
}

void Compare(const Message& before, const Message& after,
             const std::string& prefix, std::vector<ConfigChange>& changes) {
  const Descriptor& type = *before.GetDescriptor();
  for (int f = 0; f < type.field_count(); ++f) {
    const FieldDescriptor& field = *type.field(f);
    const std::string path = Join(prefix, field.name());
    const bool one_message =
        !IsLeaf(field) && !IsOpaque(field) && !field.is_repeated();
    const bool was = !field.has_presence() || IsSet(before, field);
    const bool is = !field.has_presence() || IsSet(after, field);
    if (!was && !is) continue;
    if (one_message && was && is) {
      Compare(before.GetReflection()->GetMessage(before, &field),
              after.GetReflection()->GetMessage(after, &field), path, changes);
      continue;
    }
    std::string old_text = was ? FormatField(before, field) : "(unset)";
    std::string new_text = is ? FormatField(after, field) : "(unset)";
    bool same = old_text == new_text;
    if (!IsLeaf(field) && same && was && is) {
      // Secrets in it are hidden from the text.
      const std::unique_ptr<Message> a(before.New());
      const std::unique_ptr<Message> b(after.New());
      if (IsSet(before, field)) CopyField(before, field, *a);
      if (IsSet(after, field)) CopyField(after, field, *b);
      std::string a_text;
      std::string b_text;
      TextFormat::PrintToString(*a, &a_text);
      TextFormat::PrintToString(*b, &b_text);
      same = a_text == b_text;
    }
    if (same) continue;
    if (IsLeaf(field) && RuleOf(field).secret()) {
      if (was) old_text = kSecret;
      if (is) new_text = kSecret;
    }
    changes.push_back({path, std::move(old_text), std::move(new_text)});
  }
}

}  // namespace

struct ConfigSchema::State {
  std::unique_ptr<Message> defaults;
  std::vector<FlagField> flags;
  std::string problem;  // of the schema; empty if it is right

  const FlagField* Find(std::string_view path) const {
    const auto found =
        std::find_if(flags.begin(), flags.end(),
                     [&](const FlagField& flag) { return flag.path == path; });
    return found == flags.end() ? nullptr : &*found;
  }
};

ConfigSchema::ConfigSchema(const Message& defaults) : state_(new State) {
  state_->defaults.reset(defaults.New());
  state_->defaults->CopyFrom(defaults);
  std::vector<const FieldDescriptor*> parents;
  AddFlags(*defaults.GetDescriptor(), "", parents, state_->flags,
           state_->problem);
}

ConfigSchema::~ConfigSchema() = default;

absl::Status ConfigSchema::Check() const {
  if (!state_->problem.empty()) {
    return absl::FailedPreconditionError(Concat(
        "the configuration ", state_->defaults->GetDescriptor()->full_name(),
        ": ", state_->problem));
  }
  return absl::OkStatus();
}

absl::StatusOr<CommandLine> ConfigSchema::ParseCommandLine(
    std::span<const std::string> args, bool allow_arguments) const {
  CommandLine line;
  bool flags_ended = false;
  for (size_t i = 0; i < args.size(); ++i) {
    const std::string& arg = args[i];
    if (flags_ended || !arg.starts_with('-') || arg == "-") {
      if (!allow_arguments) {
        return absl::InvalidArgumentError(
            Concat("\"", OneLine(arg),
                   "\": there are no arguments but flags, which begin with --; "
                   "see --help"));
      }
      line.arguments.push_back(arg);
      continue;
    }
    if (arg == "--") {
      flags_ended = true;
      continue;
    }
    if (arg == "-h") {
      line.help = true;
      continue;
    }
    if (!arg.starts_with("--")) {
      return absl::InvalidArgumentError(
          Concat(OneLine(arg),
                 ": no such flag; flags begin with two dashes, see --help"));
    }
    const size_t equals = arg.find('=');
    std::string name =
        arg.substr(2, equals == std::string::npos ? equals : equals - 2);
    std::optional<std::string> value;
    if (equals != std::string::npos) value = arg.substr(equals + 1);
    const std::string shown = OneLine("--" + name);
    std::replace(name.begin(), name.end(), '-', '_');

    if ((name == "help" || name == "version") && !value.has_value()) {
      (name == "help" ? line.help : line.version) = true;
      continue;
    }
    const FlagField* flag = state_->Find(name);
    if (flag == nullptr && !value.has_value() && name.starts_with("no")) {
      const FlagField* negated = state_->Find(
          std::string_view(name).substr(name.starts_with("no_") ? 3 : 2));
      if (negated != nullptr &&
          negated->field->cpp_type() == FieldDescriptor::CPPTYPE_BOOL) {
        flag = negated;
        value = "false";
      }
    }
    if (flag == nullptr && name != "config") {
      if (name == "help" || name == "version")
        return absl::InvalidArgumentError(shown + ": takes no value");
      std::vector<std::string> candidates = {"config", "help", "version"};
      for (const FlagField& known : state_->flags)
        candidates.push_back(known.path);
      const std::string nearest = Nearest(name, candidates);
      return absl::InvalidArgumentError(
          Concat(shown, ": no such flag; ",
                 nearest.empty() ? "see --help"
                                 : Concat("did you mean --", nearest, "?")));
    }
    if (!value.has_value() && flag != nullptr &&
        flag->field->cpp_type() == FieldDescriptor::CPPTYPE_BOOL)
      value = "true";
    if (!value.has_value()) {
      if (i + 1 == args.size() || args[i + 1].starts_with("--")) {
        return absl::InvalidArgumentError(Concat(
            shown, ": has no value; it must be ",
            flag == nullptr ? "the name of a file" : Allowed(*flag->field)));
      }
      value = args[++i];
    }
    if (flag == nullptr) {
      line.config_file = *std::move(value);
    } else {
      line.flags.emplace_back(flag->path, *std::move(value));
    }
  }
  return line;
}

absl::StatusOr<std::unique_ptr<Message>> ConfigSchema::Make(
    const CommandLine& command_line, const std::optional<ConfigFile>& file,
    const ConfigEnvironment& environment) const {
  if (absl::Status status = Check(); !status.ok()) return status;
  std::unique_ptr<Message> config(state_->defaults->New());
  Maker maker(state_->flags, *config);
  if (file.has_value()) {
    if (absl::Status status = maker.ReadFile(*file); !status.ok())
      return status;
  }
  if (absl::Status status = maker.ReadEnvironment(environment); !status.ok())
    return status;
  if (absl::Status status = maker.ReadFlags(command_line.flags); !status.ok())
    return status;
  maker.FillDefaults(*state_->defaults);
  if (absl::Status status = maker.Check(); !status.ok()) return status;
  return config;
}

std::string ConfigSchema::Help(std::string_view program,
                               std::string_view summary) const {
  std::string text = Concat(program, ": ", summary, "\n\nUsage: ", program,
                            " [--config=FILE] [--FLAG=VALUE]...\n\n");
  Wrap(
      "Each flag is a field of the configuration file, which is protobuf text "
      "format. A flag is stronger than the file. "
      "Durations are written 1.5s or 2m, sizes 512 or 64KiB, flags of true or "
      "false --flag and --noflag.",
      "", text);
  text += '\n';
  for (const FlagField& flag : state_->flags) {
    const FieldDescriptor& field = *flag.field;
    const Flag& rule = RuleOf(field);
    const bool is_bool = field.cpp_type() == FieldDescriptor::CPPTYPE_BOOL &&
                         !field.is_repeated();
    text += Concat("  --", is_bool ? "[no]" : "", flag.path,
                   is_bool ? "" : Concat("=", detail::Placeholder(field)),
                   field.is_repeated() ? " (may be repeated)" : "", "\n");
    std::string about = rule.help();
    if (about.empty() && !IsLeaf(field))
      about = Concat("A ", field.message_type()->name(),
                     " in protobuf text format.");
    // The range is worth a word where the type doesn't say it.
    const bool enumeration =
        field.cpp_type() == FieldDescriptor::CPPTYPE_ENUM ||
        !rule.allowed().empty();
    if (!rule.min().empty() || !rule.max().empty() ||
        (enumeration &&
         detail::Placeholder(field).find('|') == std::string::npos)) {
      std::string allowed = Allowed(field);
      allowed[0] = static_cast<char>(
          std::toupper(static_cast<unsigned char>(allowed[0])));
      about += Concat(" ", allowed, ".");
    }
    // What it is if nobody sets it.
    const Message* parent = state_->defaults.get();
    for (const FieldDescriptor* around : flag.parents)
      parent = &parent->GetReflection()->GetMessage(*parent, around);
    std::string fallback = rule.default_();
    if (IsSet(*parent, field)) fallback = FormatField(*parent, field);
    if (rule.secret() && !fallback.empty()) fallback = kSecret;
    if (rule.required()) {
      about += " Required.";
    } else if (!fallback.empty()) {
      about += Concat(" Default: ", fallback, ".");
    }
    Wrap(about, "      ", text);
  }
  text +=
      "  --config=FILE\n      Reads the configuration from FILE.\n"
      "  --help\n      Prints this.\n"
      "  --version\n      Prints the version.\n";
  return text;
}

absl::Status InvalidField(std::string_view path, std::string_view value,
                          std::string_view allowed) {
  return MustBe(Concat(path, "=", OneLine(value)), OneLine(allowed, 500));
}

std::vector<ConfigChange> Diff(const Message& before, const Message& after) {
  braid::detail::Check(before.GetDescriptor() == after.GetDescriptor(),
                       "configurations of two types can't be compared");
  std::vector<ConfigChange> changes;
  Compare(before, after, "", changes);
  return changes;
}

}  // namespace braid::service
