#include "braid/service/config.h"

#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>
#include <vector>

#include "sdk/service/config_test.pb.h"

namespace braid::service {
namespace {

using test::Config;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::Pair;

using Strings = std::vector<std::string>;

class ConfigTest : public ::testing::Test {
 protected:
  absl::StatusOr<Config> Make(
      const Strings& args,
      const std::optional<std::string>& file = std::nullopt,
      std::map<std::string, std::string> variables = {}) {
    const absl::StatusOr<CommandLine> line = schema_.ParseCommandLine(args);
    if (!line.ok()) return line.status();
    std::optional<ConfigFile> config_file;
    if (file.has_value()) config_file = {"echo.conf", *file};
    return MakeConfig<Config>(
        schema_, *line, config_file,
        {"ECHO", [&](const std::string& name) -> std::optional<std::string> {
           const auto found = variables.find(name);
           return found == variables.end() ? std::nullopt
                                           : std::optional(found->second);
         }});
  }
  // The error of a configuration that has what is required.
  std::string Error(Strings args,
                    const std::optional<std::string>& file = std::nullopt,
                    std::map<std::string, std::string> variables = {}) {
    args.insert(args.begin(), "--name=x");
    const auto config = Make(args, file, std::move(variables));
    if (config.ok()) return "no error";
    EXPECT_EQ(config.status().code(), absl::StatusCode::kInvalidArgument);
    std::string message(config.status().message());
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    return message;
  }

  const ConfigSchema schema_{Config::default_instance()};
};

TEST_F(ConfigTest, DefaultsComeFromTheSchema) {
  EXPECT_TRUE(schema_.Check().ok()) << schema_.Check();
  const auto config = Make({"--name=x"});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_THAT(config->listen(), ElementsAre("127.0.0.1:7"));
  EXPECT_EQ(config->limits().rate(), 100);
  EXPECT_EQ(config->limits().burst(), 10u);
  EXPECT_EQ(config->drain_limit().seconds(), 10);
  EXPECT_EQ(config->buffer(), 65536);
  EXPECT_FALSE(config->verbose());
  EXPECT_TRUE(config->cache());
  EXPECT_EQ(config->mode(), test::MODE_FAST);
  EXPECT_EQ(config->color(), "red");
  EXPECT_FALSE(config->has_tls());
  EXPECT_FALSE(config->has_factor());
  EXPECT_THAT(config->upstreams(), IsEmpty());
}

TEST_F(ConfigTest, FlagsOfEachType) {
  const auto config = Make({"--listen=a:1",
                            "--listen=b:2",
                            "--limits.rate=2.5",
                            "--limits.burst",
                            "7",
                            "--drain-limit=1m30.5s",
                            "--buffer=2MB",
                            "--verbose",
                            "--nocache",
                            "--mode=very_safe",
                            "--color=green",
                            "--name",
                            "-x=y",
                            "--upstreams=address: 'u1' weight: 0",
                            "--upstreams=address: \"u2\"",
                            "--tls.certificate=my.pem",
                            "--password=hunter2",
                            "--ports=1",
                            "--ports=65535",
                            "--memory=1GiB",
                            "--factor=-0.1",
                            "--key=\xFF\n",
                            "--backoff=10ms",
                            "--backoff=1h",
                            "--plain=-5",
                            "--tags=key: 'a' value: 'b'"});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_THAT(config->listen(), ElementsAre("a:1", "b:2"));
  EXPECT_EQ(config->limits().rate(), 2.5);
  EXPECT_EQ(config->limits().burst(), 7u);
  EXPECT_EQ(config->drain_limit().seconds(), 90);
  EXPECT_EQ(config->drain_limit().nanos(), 500'000'000);
  EXPECT_EQ(config->buffer(), 2'000'000);
  EXPECT_TRUE(config->verbose());
  EXPECT_FALSE(config->cache());
  EXPECT_EQ(config->mode(), test::MODE_VERY_SAFE);
  EXPECT_EQ(config->color(), "green");
  EXPECT_EQ(config->name(), "-x=y");
  ASSERT_EQ(config->upstreams_size(), 2);
  EXPECT_EQ(config->upstreams(0).weight(), 0);  // set to zero is not unset
  EXPECT_EQ(config->upstreams(1).weight(), 1);
  EXPECT_EQ(config->tls().certificate(), "my.pem");
  EXPECT_TRUE(
      config->tls().client_auth());  // there now, so it has its defaults
  EXPECT_EQ(config->password(), "hunter2");
  EXPECT_THAT(config->ports(), ElementsAre(1, 65535));
  EXPECT_EQ(config->memory(), 1u << 30);
  EXPECT_FLOAT_EQ(config->factor(), -0.1f);
  EXPECT_EQ(config->key(), "\xFF\n");
  EXPECT_EQ(config->backoff(1).seconds(), 3600);
  EXPECT_EQ(config->plain(), -5);
  EXPECT_EQ(config->tags().at("a"), "b");
}

TEST_F(ConfigTest, WaysToWriteAFlag) {
  for (const Strings& args :
       std::vector<Strings>{{"--verbose"},
                            {"--verbose=true"},
                            {"--verbose=1"},
                            {"--verbose=YES"},
                            {"--noverbose", "--verbose"}}) {
    EXPECT_TRUE(
        Make({"--name=x", args[0], args.size() > 1 ? args[1] : "--verbose"})
            ->verbose());
  }
  for (const char* arg : {"--noverbose", "--no-verbose", "--no_verbose",
                          "--verbose=false", "--verbose=off"}) {
    EXPECT_FALSE(Make({"--name=x", "--verbose", arg})->verbose()) << arg;
  }
  for (const char* arg :
       {"--mode=MODE_VERY_SAFE", "--mode=Very_Safe", "--mode=very_safe"}) {
    EXPECT_EQ(Make({"--name=x", arg})->mode(), test::MODE_VERY_SAFE) << arg;
  }
  EXPECT_EQ(Make({"--name=x", "--drain_limit=0"})->drain_limit().seconds(), 0);
  EXPECT_EQ(Make({"--name=x", "--name=y"})->name(), "y");  // the last one
  EXPECT_EQ(Make({"--name="})->name(), "");
  EXPECT_EQ(Make({"--name=x", "--plain", "-5"})->plain(), -5);
}

TEST_F(ConfigTest, FileEnvironmentAndFlagsInThatOrder) {
  const std::string file = R"(
      # A comment.
      name: "file" listen: "f1" listen: "f2"
      limits { rate: 1 burst: 1 }
      drain_limit { seconds: 1 nanos: 500000000 }
      cache: false
      mode: MODE_VERY_SAFE
      upstreams { address: "u" }
  )";
  auto config = Make({}, file);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_THAT(config->listen(), ElementsAre("f1", "f2"));
  EXPECT_FALSE(config->cache());  // the file's false, not the default
  EXPECT_EQ(config->upstreams(0).weight(), 1);

  config = Make({}, file,
                {{"ECHO_NAME", "env"},
                 {"ECHO_LISTEN", "e1,e2,e3"},
                 {"ECHO_LIMITS_RATE", "2"},
                 {"NAME", "no"}});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->name(), "env");
  EXPECT_THAT(config->listen(), ElementsAre("e1", "e2", "e3"));
  EXPECT_EQ(config->limits().rate(), 2);
  EXPECT_EQ(config->limits().burst(), 1u);

  config = Make({"--name=flag", "--listen=l1", "--limits.rate=3"}, file,
                {{"ECHO_NAME", "env"},
                 {"ECHO_LISTEN", "e1,e2,e3"},
                 {"ECHO_LIMITS_RATE", "2"}});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->name(), "flag");
  EXPECT_THAT(config->listen(), ElementsAre("l1"));
  EXPECT_EQ(config->limits().rate(), 3);
  EXPECT_EQ(config->limits().burst(), 1u);

  EXPECT_THAT(Make({}, file, {{"ECHO_LISTEN", ""}})->listen(),
              IsEmpty());  // an empty list, on purpose
}

TEST_F(ConfigTest, ZeroInTheFileIsNotUnset) {
  const auto config = Make({"--name=x"},
                           "limits { burst: 1 } plain: 0 drain_limit {} "
                           "upstreams { address: 'a' weight: 0 }");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->drain_limit().seconds(), 0);
  EXPECT_EQ(config->upstreams(0).weight(), 0);
  EXPECT_THAT(Error({}, "limits { burst: 0 }"),
              HasSubstr("echo.conf:1:10: limits.burst=0: must be"));
}

TEST_F(ConfigTest, OneofsHaveOneMember) {
  EXPECT_EQ(Make({"--name=x", "--memory=5"}, "path: '/tmp'")->store_case(),
            Config::kMemory);
  EXPECT_EQ(Make({"--name=x"})->store_case(), Config::STORE_NOT_SET);
}

TEST_F(ConfigTest, TheCallersDefaults) {
  Config defaults;
  defaults.set_name("from the caller");
  defaults.add_listen("c:1");
  defaults.mutable_limits()->set_burst(3);
  defaults.mutable_tls();
  defaults.add_upstreams()->set_address("u");
  const ConfigSchema schema(defaults);
  auto config = MakeConfig<Config>(schema, {});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->name(), "from the caller");
  EXPECT_THAT(config->listen(), ElementsAre("c:1"));
  EXPECT_EQ(config->limits().burst(), 3u);
  EXPECT_EQ(config->limits().rate(), 100);
  EXPECT_EQ(config->tls().certificate(), "cert.pem");
  EXPECT_EQ(config->upstreams(0).weight(), 1);
  EXPECT_THAT(schema.Help("x", "y"),
              HasSubstr("--limits.burst=NUMBER\n      Requests at once. A "
                        "whole number from 1 to "
                        "4294967295. Default: 3.\n"));
  config = MakeConfig<Config>(
      schema, {}, ConfigFile{"f", "limits { burst: 4 } listen: 'f'"});
  EXPECT_EQ(config->limits().burst(), 4u);
  EXPECT_THAT(config->listen(), ElementsAre("f"));
}

TEST_F(ConfigTest, ErrorsNameTheFlagTheValueAndWhatIsAllowed) {
  EXPECT_EQ(Error({"--limits.rate=0"}),
            "--limits.rate=0: must be a number from 0.5 to 1e6");
  EXPECT_EQ(Error({"--limits.rate=abc"}),
            "--limits.rate=abc: must be a number from 0.5 to 1e6");
  EXPECT_EQ(Error({"--limits.rate=nan"}),
            "--limits.rate=nan: must be a number from 0.5 to 1e6");
  EXPECT_EQ(Error({"--limits.burst=0"}),
            "--limits.burst=0: must be a whole number from 1 to 4294967295");
  EXPECT_EQ(
      Error({"--limits.burst=4294967296"}),
      "--limits.burst=4294967296: must be a whole number from 1 to 4294967295");
  EXPECT_EQ(Error({"--limits.burst=-1"}),
            "--limits.burst=-1: must be a whole number from 1 to 4294967295");
  EXPECT_EQ(
      Error({"--plain=1.5"}),
      "--plain=1.5: must be a whole number from -2147483648 to 2147483647");
  EXPECT_EQ(Error({"--plain="}),
            "--plain=: must be a whole number from -2147483648 to 2147483647");
  EXPECT_EQ(
      Error({"--plain= 1"}),
      "--plain= 1: must be a whole number from -2147483648 to 2147483647");
  EXPECT_EQ(
      Error({"--drain_limit=10"}),
      "--drain_limit=10: must be a duration such as 1.5s or 2m from 0s to 10m");
  EXPECT_EQ(Error({"--drain_limit=-1s"}),
            "--drain_limit=-1s: must be a duration such as 1.5s or 2m from 0s "
            "to 10m");
  EXPECT_EQ(Error({"--drain_limit=inf"}),
            "--drain_limit=inf: must be a duration such as 1.5s or 2m from 0s "
            "to 10m");
  EXPECT_EQ(Error({"--buffer=1"}),
            "--buffer=1: must be a size such as 512, 64KiB or 10MB from 1KiB "
            "to 1GiB");
  EXPECT_EQ(Error({"--buffer=64k"}),
            "--buffer=64k: must be a size such as 512, 64KiB or 10MB from 1KiB "
            "to 1GiB");
  EXPECT_EQ(Error({"--buffer=99999999TiB"}),
            "--buffer=99999999TiB: must be a size such as 512, 64KiB or 10MB "
            "from 1KiB to 1GiB");
  EXPECT_EQ(Error({"--verbose=maybe"}),
            "--verbose=maybe: must be true or false");
  EXPECT_EQ(Error({"--mode=slow"}),
            "--mode=slow: must be one of fast, very_safe");
  EXPECT_EQ(Error({"--mode=unspecified"}),
            "--mode=unspecified: must be one of fast, very_safe");
  EXPECT_EQ(Error({"--color=blue"}), "--color=blue: must be one of red, green");
  EXPECT_EQ(Error({"--ports=80", "--ports=0"}),
            "--ports=0: must be a whole number from 1 to 65535");
  EXPECT_EQ(Error({"--factor=2.5"}),
            "--factor=2.5: must be a number of at most 2");
  EXPECT_EQ(
      Error({"--backoff=0s"}),
      "--backoff=0s: must be a duration such as 1.5s or 2m of at least 1ms");
  EXPECT_EQ(Error({"--color=\xFF\n"}),
            "--color=\xEF\xBF\xBD\\n: must be one of red, green");
  EXPECT_EQ(Error({"--name=\xFF"}), "--name=\xEF\xBF\xBD: must be UTF-8 text");
  EXPECT_THAT(Error({"--color=" + std::string(100000, 'x')}),
              ::testing::SizeIs(::testing::Lt(300)));
  EXPECT_EQ(Error({"--upstreams=address: 'a' weight: 101"}),
            "--upstreams: 1:14: upstreams[0].weight=101: must be a whole "
            "number from 0 to 100");
  EXPECT_EQ(Error({"--upstreams=weight: 1"}),
            "--upstreams[0].address is required and not set; it must be UTF-8 "
            "text: Where it is.");
  EXPECT_EQ(Error({"--upstreams=wieght: 1"}),
            "--upstreams=wieght: 1: must be Upstream in protobuf text format "
            "(1:7: no field is called wieght; did you mean "
            "weight?)");
  EXPECT_EQ(Error({}, std::nullopt, {{"ECHO_LIMITS_RATE", "0"}}),
            "ECHO_LIMITS_RATE=0: must be a number from 0.5 to 1e6");
  EXPECT_EQ(Error({}, std::nullopt, {{"ECHO_PORTS", "80,x"}}),
            "ECHO_PORTS=x: must be a whole number from 1 to 65535");
}

TEST_F(ConfigTest, UnknownFlagsSuggestTheNearest) {
  EXPECT_EQ(Error({"--lisen=x"}),
            "--lisen: no such flag; did you mean --listen?");
  EXPECT_EQ(Error({"--limts.rate=5"}),
            "--limts.rate: no such flag; did you mean --limits.rate?");
  EXPECT_EQ(Error({"--rate=5"}),
            "--rate: no such flag; did you mean --limits.rate?");
  EXPECT_EQ(Error({"--hlep"}), "--hlep: no such flag; did you mean --help?");
  EXPECT_EQ(Error({"--frobnicate"}), "--frobnicate: no such flag; see --help");
  EXPECT_EQ(Error({"--limits=rate: 5"}), "--limits: no such flag; see --help");
  EXPECT_EQ(Error({"--nocolor"}),
            "--nocolor: no such flag; did you mean --color?");
  EXPECT_EQ(Error({"--"}), "no error");
  EXPECT_EQ(Error({"--=x"}), "--: no such flag; see --help");
  EXPECT_EQ(Error({"-v"}),
            "-v: no such flag; flags begin with two dashes, see --help");
  EXPECT_EQ(Error({"file"}),
            "\"file\": there are no arguments but flags, which begin with --; "
            "see --help");
  EXPECT_EQ(Error({"--help=x"}), "--help: takes no value");
  EXPECT_EQ(Error({"--limits.rate"}),
            "--limits.rate: has no value; it must be a number from 0.5 to 1e6");
  EXPECT_EQ(Error({"--limits.rate", "--verbose"}),
            "--limits.rate: has no value; it must be a number from 0.5 to 1e6");
  EXPECT_EQ(Error({"--config"}),
            "--config: has no value; it must be the name of a file");
  EXPECT_THAT(Error({"--" + std::string(100000, 'x')}),
              ::testing::SizeIs(::testing::Lt(300)));
  EXPECT_EQ(Error({"--a\nb"}), "--a\\nb: no such flag; see --help");
}

// protobuf says "Expected integer, got: -" of these, and not of which field.
TEST_F(ConfigTest, AValueOfTheWrongTypeInTheFileIsNamed) {
  EXPECT_EQ(Error({}, "plain: 'x'"),
            "echo.conf:1:8: plain='x': must be a whole number from -2147483648 "
            "to 2147483647");
  EXPECT_EQ(Error({}, "name: 'x' # limits {\nlimits {\n\tburst:\t-1 }"),
            "echo.conf:3:17: limits.burst=-1: must be a whole number from 1 to "
            "4294967295");
  EXPECT_EQ(Error({}, "plain: 99999999999999999999;"),
            "echo.conf:1:8: plain=99999999999999999999: must be a whole number "
            "from -2147483648 to 2147483647");
  EXPECT_EQ(Error({}, "name: x"),
            "echo.conf:1:7: name=x: must be UTF-8 text, in quotes");
  EXPECT_EQ(Error({}, "drain_limit: 5"),
            "echo.conf:1:14: drain_limit=5: must be a duration such as 1.5s "
            "or 2m from 0s to 10m, written { seconds: 1 nanos: 500000000 }");
  EXPECT_THAT(Error({}, "buffer: '64KiB'"),
              HasSubstr("buffer='64KiB': must be a size "));
  EXPECT_THAT(Error({}, "buffer: '64KiB'"), HasSubstr("without a unit"));
  EXPECT_THAT(Error({}, "password: 12345"), Not(HasSubstr("12345")));
  // Another field of the same name has no flag, and is not taken for one.
  EXPECT_EQ(Error({}, "name: 'x:' upstreams { weight: 'y' plain: 'z' }"),
            "echo.conf:1:32: Expected integer, got: 'y'");
  // What isn't a value of the wrong type keeps protobuf's own words.
  EXPECT_THAT(Error({}, "name: 'x"), HasSubstr("echo.conf:1:"));
  EXPECT_THAT(Error({}, "} plain: 'x'"), HasSubstr("echo.conf:1:1: "));
}

TEST_F(ConfigTest, FileErrorsHaveTheirPlace) {
  EXPECT_EQ(Error({}, "name: 'x'\nlimits {\n  rate: 0\n}"),
            "echo.conf:3:3: limits.rate=0: must be a number from 0.5 to 1e6");
  EXPECT_EQ(Error({}, "name: 'x'\n  lisen: 'y'"),
            "echo.conf:2:8: no field is called lisen; did you mean listen?");
  EXPECT_EQ(Error({}, "limits { frobnicate: 1 }"),
            "echo.conf:1:20: no field is called frobnicate");
  EXPECT_THAT(Error({}, "limits {"), HasSubstr("echo.conf:1:9: "));
  EXPECT_THAT(Error({}, "plain: 1 plain: 2"), HasSubstr("echo.conf:1:15: "));
  EXPECT_EQ(
      Error({}, "ports: [1, 2, 70000]"),
      "echo.conf:1:1: ports[2]=70000: must be a whole number from 1 to 65535");
  EXPECT_EQ(Error({}, "mode: 77"),
            "echo.conf:1:1: mode=77: must be one of fast, very_safe");
  EXPECT_EQ(Error({}, "upstreams { address: 'a' }\nupstreams { weight: 1 }"),
            "--upstreams[1].address is required and not set; it must be UTF-8 "
            "text: Where it is.");
  EXPECT_EQ(Error({}, "drain_limit { nanos: 2000000000 }"),
            "echo.conf:1:1: drain_limit={nanos: 2000000000}: must be a "
            "duration such as 1.5s or 2m from 0s to 10m");
  EXPECT_THAT(Error({}, std::string("\0\xFF", 2)),
              HasSubstr("echo.conf:1:1: "));
  EXPECT_THAT(Error({}, std::string(100000, '{')),
              HasSubstr("echo.conf:1:1: "));
}

TEST_F(ConfigTest, RequiredFields) {
  EXPECT_EQ(Make({}).status().message(),
            "--name is required and not set; it must be UTF-8 text: Its name.");
  EXPECT_TRUE(Make({}, "name: ''").ok());
  EXPECT_TRUE(Make({}, std::nullopt, {{"ECHO_NAME", "x"}}).ok());
}

TEST_F(ConfigTest, SecretsAreNotPrinted) {
  EXPECT_THAT(Error({"--password=\xFF hunter2"}),
              HasSubstr("--password=(secret): must be"));
  Config a;
  Config b;
  b.set_password("hunter2");
  b.add_upstreams()->set_token("hunter2");
  for (const ConfigChange& change : Diff(a, b))
    EXPECT_THAT(change.before + change.after, Not(HasSubstr("hunter2")));
  a = b;
  a.mutable_upstreams(0)->set_token("hunter3");
  a.set_password("hunter3");
  ASSERT_EQ(Diff(a, b).size(), 2u);
  for (const ConfigChange& change : Diff(a, b))
    EXPECT_THAT(change.before + change.after, Not(HasSubstr("hunter")));
}

TEST_F(ConfigTest, Validate) {
  const std::function<absl::Status(const Config&)> validate =
      [](const Config& config) {
        if (config.limits().burst() < config.limits().rate())
          return absl::OkStatus();
        return InvalidField("limits.burst",
                            std::to_string(config.limits().burst()),
                            "less than limits.rate");
      };
  const CommandLine good = *schema_.ParseCommandLine(Strings{"--name=x"});
  EXPECT_TRUE(
      MakeConfig<Config>(schema_, good, std::nullopt, {}, validate).ok());
  const CommandLine bad =
      *schema_.ParseCommandLine(Strings{"--name=x", "--limits.burst=100"});
  EXPECT_EQ(
      MakeConfig<Config>(schema_, bad, std::nullopt, {}, validate).status(),
      absl::InvalidArgumentError(
          "limits.burst=100: must be less than limits.rate"));
}

TEST_F(ConfigTest, CommandLine) {
  const auto line = schema_.ParseCommandLine(
      Strings{"a", "--help", "--config=f", "b", "--version", "--plain=x", "--",
              "--plain", "-"},
      /*allow_arguments=*/true);
  ASSERT_TRUE(line.ok()) << line.status();
  EXPECT_TRUE(line->help);
  EXPECT_TRUE(line->version);
  EXPECT_EQ(line->config_file, "f");
  EXPECT_THAT(line->arguments, ElementsAre("a", "b", "--plain", "-"));
  EXPECT_THAT(line->flags, ElementsAre(Pair("plain", "x")));
  EXPECT_TRUE(schema_.ParseCommandLine(Strings{"-h"})->help);
  EXPECT_EQ(schema_.ParseCommandLine(Strings{"--config", "a b"})->config_file,
            "a b");
  EXPECT_FALSE(schema_.ParseCommandLine({})->config_file.has_value());
}

TEST_F(ConfigTest, Help) {
  const std::string help = schema_.Help("echo", "Answers.");
  EXPECT_THAT(
      help,
      ::testing::StartsWith(
          "echo: Answers.\n\nUsage: echo [--config=FILE] [--FLAG=VALUE]...\n"));
  EXPECT_THAT(help, HasSubstr("  --listen=TEXT (may be repeated)\n      "
                              "Addresses. Default: 127.0.0.1:7.\n"));
  EXPECT_THAT(help,
              HasSubstr("  --limits.rate=NUMBER\n      Requests per second. A "
                        "number from 0.5 to 1e6. Default: 100.\n"));
  EXPECT_THAT(help, HasSubstr("  --drain_limit=DURATION\n"));
  EXPECT_THAT(help, HasSubstr("  --buffer=SIZE\n"));
  EXPECT_THAT(help, HasSubstr("  --[no]verbose\n      Says more.\n"));
  EXPECT_THAT(
      help, HasSubstr("  --mode=fast|very_safe\n      How. Default: fast.\n"));
  EXPECT_THAT(help, HasSubstr("  --name=TEXT\n      Its name. Required.\n"));
  EXPECT_THAT(
      help,
      HasSubstr("  --upstreams=MESSAGE (may be repeated)\n      A Upstream"));
  EXPECT_THAT(help, HasSubstr("  --tls.certificate=TEXT\n"));
  EXPECT_THAT(help, HasSubstr("  --config=FILE\n"));
  EXPECT_THAT(help, Not(HasSubstr("upstreams.")));
  for (size_t begin = 0; begin < help.size();) {
    const size_t end = help.find('\n', begin);
    EXPECT_LE(end - begin, 80u) << help.substr(begin, end - begin);
    begin = end + 1;
  }
}

TEST_F(ConfigTest, DiffNamesWhatChanged) {
  const Config a = *Make({"--name=x", "--tags=key: 'a' value: '1'"});
  EXPECT_THAT(Diff(a, a), IsEmpty());
  const Config b =
      *Make({"--name=x", "--listen=l1", "--listen=l2", "--limits.rate=5",
             "--drain_limit=1.5s", "--buffer=1MiB", "--mode=very_safe",
             "--tls=", "--factor=0", "--upstreams=address: 'u'", "--verbose"});
  std::vector<std::pair<std::string, std::string>> changes;
  for (const ConfigChange& change : Diff(a, b))
    changes.emplace_back(change.path, change.before + " -> " + change.after);
  EXPECT_THAT(
      changes,
      ElementsAre(
          Pair("listen", "[127.0.0.1:7] -> [l1, l2]"),
          Pair("limits.rate", "100 -> 5"), Pair("drain_limit", "10s -> 1.5s"),
          Pair("buffer", "64KiB -> 1MiB"), Pair("verbose", "false -> true"),
          Pair("mode", "fast -> very_safe"),
          Pair("upstreams", "[] -> [{address: \"u\" weight: 1}]"),
          Pair("tls",
               "(unset) -> {certificate: \"cert.pem\" client_auth: true}"),
          Pair("tags", "{tags { key: \"a\" value: \"1\" }} -> {}"),
          Pair("factor", "(unset) -> 0")));
}

TEST_F(ConfigTest, DiffIgnoresTheOrderOfMaps) {
  Config a;
  Config b;
  for (int i = 0; i < 100; ++i) {
    (*a.mutable_tags())[std::to_string(i)] = "x";
    (*b.mutable_tags())[std::to_string(99 - i)] = "x";
  }
  EXPECT_THAT(Diff(a, b), IsEmpty());
  (*b.mutable_tags())["5"] = "y";
  EXPECT_EQ(Diff(a, b).size(), 1u);
}

template <typename T>
std::string SchemaProblem() {
  const absl::Status status = ConfigSchema(T::default_instance()).Check();
  if (!status.ok()) {
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  }
  const auto made = ConfigSchema(T::default_instance()).Make({});
  EXPECT_EQ(made.ok(), status.ok());
  return std::string(status.message());
}

TEST(ConfigSchemaTest, WrongSchemasAreExplained) {
  EXPECT_EQ(SchemaProblem<test::NoHelp>(),
            "the configuration braid.service.test.NoHelp: a: help is missing");
  EXPECT_THAT(SchemaProblem<test::BadDefault>(),
              HasSubstr("\"x\" in its options is not a whole number"));
  EXPECT_THAT(SchemaProblem<test::DefaultOutOfRange>(),
              HasSubstr("the default \"5\" is not a whole number"));
  EXPECT_THAT(SchemaProblem<test::MinOnText>(),
              HasSubstr("min and max are for numbers"));
  EXPECT_THAT(SchemaProblem<test::SizeOnText>(),
              HasSubstr("size is for integers"));
  EXPECT_THAT(SchemaProblem<test::RequiredWithDefault>(),
              HasSubstr("a required field has no default"));
  EXPECT_THAT(SchemaProblem<test::ZeroNotAllowed>(),
              HasSubstr("it needs a default"));
  EXPECT_THAT(SchemaProblem<test::Recursive>(),
              HasSubstr("can't contain itself"));
  EXPECT_THAT(SchemaProblem<test::RecursiveList>(),
              HasSubstr("can't contain itself"));
  EXPECT_THAT(SchemaProblem<test::NamedHelp>(),
              HasSubstr("a meaning of its own"));
  EXPECT_THAT(SchemaProblem<test::RuleOnMessage>(),
              HasSubstr("belong on the fields of the message"));
  EXPECT_THAT(SchemaProblem<test::ProblemInside>(),
              HasSubstr("a.a: help is missing"));
}

// Whatever is thrown at it: an error of one line, or a configuration that keeps
// its own rules.
TEST_F(ConfigTest, RandomInput) {
  std::mt19937 random(11);
  const auto pick = [&](const Strings& from) {
    return from[random() % from.size()];
  };
  const Strings names = {
      "listen",    "limits.rate", "limits.burst", "drain_limit", "buffer",
      "verbose",   "cache",       "mode",         "color",       "name",
      "upstreams", "tls",         "tls.x",        "password",    "ports",
      "memory",    "tags",        "factor",       "key",         "extra",
      "backoff",   "plain",       "help",         "config",      "no"};
  const Strings values = {"",
                          "0",
                          "1",
                          "-1",
                          "1e9",
                          "nan",
                          "inf",
                          "1.5s",
                          "64KiB",
                          "true",
                          "fast",
                          "x",
                          "{",
                          "}",
                          "a:1",
                          "'",
                          "\"",
                          "\\",
                          "\n",
                          "\xFF",
                          "[",
                          "1:2",
                          "#",
                          "address: 'x'",
                          "99999999999999999999",
                          "key: 'a'",
                          "weight: 1",
                          "seconds: 1",
                          "<",
                          ">",
                          ";",
                          ","};
  int good = 0;
  for (int round = 0; round < 20000; ++round) {
    Strings args = {"--name=x"};
    for (uint32_t n = random() % 4; n > 0; --n) {
      std::string arg = "--" + pick(names);
      if (random() % 8 != 0) arg += "=" + pick(values);
      if (random() % 8 == 0)
        arg[random() % arg.size()] = static_cast<char>(random());
      args.push_back(arg);
    }
    std::optional<std::string> file;
    if (random() % 2 == 0) {
      file =
          "name: 'x' limits { rate: 2 } upstreams { address: 'a' } backoff { "
          "seconds: 1 }";
      for (uint32_t n = random() % 3; n > 0; --n) {
        const size_t at = random() % file->size();
        switch (random() % 3) {
          case 0:
            (*file)[at] = static_cast<char>(random());
            break;
          case 1:
            file->insert(at, pick(values));
            break;
          case 2:
            file->erase(at, random() % 5);
            break;
        }
        if (file->empty()) break;
      }
    }
    const auto config = Make(
        args, file,
        {{"ECHO_" + pick({"NAME", "PORTS", "LIMITS_RATE"}), pick(values)}});
    if (!config.ok()) {
      EXPECT_EQ(config.status().message().find('\n'), absl::string_view::npos)
          << config.status();
      EXPECT_LT(config.status().message().size(), 1500u);
      continue;
    }
    ++good;
    EXPECT_GE(config->limits().rate(), 0.5);
    EXPECT_GE(config->limits().burst(), 1u);
    EXPECT_LE(config->drain_limit().seconds(), 600);
    EXPECT_THAT(Diff(*config, *config), IsEmpty());
  }
  EXPECT_GT(good, 500);
}

}  // namespace
}  // namespace braid::service
