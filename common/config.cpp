#include "common/config.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>

#define TOML_ENABLE_FORMATTERS 0  // we write TOML ourselves
#include <CLI/CLI.hpp>
#include <toml++/toml.h>

namespace wdmoe {
namespace {

constexpr std::uintmax_t kLargestFile = 1 << 20;  // a configuration is hand-written

std::string number_text(double value) {
  std::ostringstream out;
  out.precision(15);
  out << value;
  return out.str();
}

const char* kind_name(const Value& value) {
  constexpr const char* kNames[] = {"true or false", "a whole number",  "a number",
                                    "a text",        "a list of texts", "a list of numbers"};
  return kNames[value.index()];
}

/// "a whole number from 1 to 10", "one of f16, f32": what the setting accepts.
std::string expectation(const Setting& setting) {
  const Check& check = setting.check;
  if (!check.choices.empty()) {
    std::string text = "one of ";
    for (const std::string& choice : check.choices)
      text += (choice == check.choices.front() ? "" : ", ") + choice;
    return text;
  }
  std::string text = kind_name(setting.get());
  if (std::isfinite(check.min) && std::isfinite(check.max))
    text += " from " + number_text(check.min) + " to " + number_text(check.max);
  else if (std::isfinite(check.min))
    text += " of at least " + number_text(check.min);
  if (check.not_empty) text += ", not empty";
  return text;
}

bool satisfies(const Value& value, const Check& check) {
  if (const auto* whole = std::get_if<std::int64_t>(&value))
    return static_cast<double>(*whole) >= check.min && static_cast<double>(*whole) <= check.max;
  if (const auto* real = std::get_if<double>(&value))
    return *real >= check.min && *real <= check.max;  // NaN fails both
  if (const auto* text = std::get_if<std::string>(&value)) {
    if (check.not_empty && text->empty()) return false;
    return check.choices.empty() || std::count(check.choices.begin(), check.choices.end(), *text);
  }
  if (const auto* list = std::get_if<std::vector<std::string>>(&value))
    return !(check.not_empty && list->empty()) &&
           (check.choices.empty() || std::all_of(list->begin(), list->end(), [&](const auto& item) {
              return std::count(check.choices.begin(), check.choices.end(), item) > 0;
            }));
  if (const auto* numbers = std::get_if<std::vector<double>>(&value))
    return std::all_of(numbers->begin(), numbers->end(),
                       [&](double number) { return satisfies(Value(number), check); });
  return true;
}

std::string toml_quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      char escape[8];
      std::snprintf(escape, sizeof escape, "\\u%04X", static_cast<unsigned>(c));
      out += escape;
    } else {
      out += c;
    }
  }
  return out + "\"";
}

std::string toml_text(const Value& value) {
  if (const auto* flag = std::get_if<bool>(&value)) return *flag ? "true" : "false";
  if (const auto* whole = std::get_if<std::int64_t>(&value)) return std::to_string(*whole);
  if (const auto* real = std::get_if<double>(&value)) {
    std::string text = number_text(*real);
    if (text.find_first_of(".en") == std::string::npos) text += ".0";
    return text;
  }
  if (const auto* text = std::get_if<std::string>(&value)) return toml_quoted(*text);
  std::string out = "[";
  if (const auto* numbers = std::get_if<std::vector<double>>(&value)) {
    for (const double number : *numbers) out += (out.size() > 1 ? ", " : "") + number_text(number);
    return out + "]";
  }
  for (const std::string& item : std::get<std::vector<std::string>>(value))
    out += (out.size() > 1 ? ", " : "") + toml_quoted(item);
  return out + "]";
}

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j < row.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0]++;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t change = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, change});
    }
  }
  return row.back();
}

std::string unknown_key(const std::string& key, Span<const Setting> settings) {
  const Setting* nearest = nullptr;
  std::size_t best = 4;  // farther away is no typing error
  for (const Setting& setting : settings) {
    const std::size_t distance = edit_distance(key, setting.key);
    if (distance < best) {
      best = distance;
      nearest = &setting;
    }
  }
  std::string text = "unknown key '" + key + "': ";
  if (nearest != nullptr) return text + "did you mean '" + nearest->key + "'?";
  const std::string table = key.substr(0, key.rfind('.') + 1);
  text += "the known ones here are";
  for (const Setting& setting : settings)
    if (setting.key.substr(0, setting.key.rfind('.') + 1) == table) text += ' ' + setting.key;
  return text;
}

Result<Value> value_from(const toml::node& node, const std::string& where) {
  if (const auto* flag = node.as_boolean()) return Value(flag->get());
  if (const auto* whole = node.as_integer()) return Value(whole->get());
  if (const auto* real = node.as_floating_point()) return Value(real->get());
  if (const auto* text = node.as_string()) return Value(std::string(text->get()));
  if (const auto* array = node.as_array()) {
    std::vector<std::string> list;
    std::vector<double> numbers;
    for (const toml::node& item : *array) {
      if (const auto* text = item.as_string())
        list.emplace_back(text->get());
      else if (item.is_number())
        numbers.push_back(*item.value<double>());
    }
    if (array->size() == list.size()) return Value(std::move(list));
    if (array->size() == numbers.size()) return Value(std::move(numbers));
    return fail(Code::bad_input, where + ": a list may hold texts only, or numbers only");
  }
  return fail(Code::bad_input, where + ": dates and times are not used here");
}

Result<void> read_table(const toml::table& table, const std::string& prefix, std::string_view file,
                        Span<const Setting> settings, Span<const SettingList> lists);

/// Every table of [[key]] as an entry of `list`.
Result<void> read_entries(const toml::node& node, const std::string& where, std::string_view file,
                          const SettingList& list) {
  const auto* array = node.as_array();
  if (array == nullptr || !array->is_array_of_tables())
    return fail(Code::bad_input, where + ": expected tables, each begun with [[" + list.key + "]]");
  if (array->size() > list.most)
    return fail(Code::limit, where + ": " + std::to_string(array->size()) + " tables, at most " +
                                 std::to_string(list.most) + " are allowed");
  for (const toml::node& item : *array)
    WDMOE_TRY(read_table(*item.as_table(), "", file, list.add(), {}));
  return {};
}

Result<void> read_table(const toml::table& table, const std::string& prefix, std::string_view file,
                        Span<const Setting> settings, Span<const SettingList> lists) {
  for (auto&& [name, node] : table) {
    const std::string key = prefix + std::string(std::string_view(name));
    const std::string where =
        std::string(file) + ":" + std::to_string(node.source().begin.line) + ": ";
    const auto has_key = [&](const auto& entry) { return entry.key == key; };
    const auto found = std::find_if(settings.begin(), settings.end(), has_key);
    const auto list = std::find_if(lists.begin(), lists.end(), has_key);
    if (list != lists.end()) {
      WDMOE_TRY(read_entries(node, where + key, file, *list));
    } else if (found != settings.end()) {
      auto value = value_from(node, where + key);
      if (!value) return tl::unexpected<Error>(std::move(value).error());
      WDMOE_TRY(assign(*found, *value, where + key));
    } else if (const auto* inner = node.as_table();
               inner != nullptr &&
               std::any_of(settings.begin(), settings.end(), [&](const auto& s) {
                 return s.key.compare(0, key.size() + 1, key + ".") == 0;
               })) {
      WDMOE_TRY(read_table(*inner, key + ".", file, settings, lists));
    } else {
      return fail(Code::bad_input, where + unknown_key(key, settings));
    }
  }
  return {};
}

std::string flag_of(const std::string& key) {
  std::string flag = "--" + key;
  std::replace(flag.begin(), flag.end(), '_', '-');
  std::replace(flag.begin() + 2, flag.end(), '.', '-');
  return flag;
}

/// A flag's text as the setting's kind of value.
Result<Value> value_from(const std::string& text, const Setting& setting) {
  const Value current = setting.get();
  const auto wrong = [&] {
    return fail(Code::bad_input,
                flag_of(setting.key) + " " + text + ": expected " + expectation(setting));
  };
  if (std::holds_alternative<bool>(current)) {
    if (text == "true") return Value(true);
    if (text == "false") return Value(false);
    return wrong();
  }
  if (std::holds_alternative<std::string>(current)) return Value(text);
  if (std::holds_alternative<std::int64_t>(current)) {
    std::int64_t number = 0;
    if (!CLI::detail::lexical_cast(text, number)) return wrong();
    return Value(number);
  }
  double number = 0;
  if (!CLI::detail::lexical_cast(text, number)) return wrong();
  return Value(number);
}

/// What the command line said; applied after the file has been read.
struct Flags {
  std::string file;
  bool check = false, print = false;
  std::map<const Setting*, std::vector<std::string>> given;
};

void declare_flags(CLI::App& app, Span<const Setting> settings, Flags& flags) {
  app.add_option("-c,--config", flags.file, "TOML file with the settings below")->type_name("FILE");
  app.add_flag("--check", flags.check, "check the configuration and the files it names, then end");
  app.add_flag("--print-config", flags.print, "print the settings in force as TOML, then end");
  for (const Setting& setting : settings) {
    const Value value = setting.get();
    const std::string help =
        setting.help + " (" + expectation(setting) + "; default " + toml_text(value) + ")";
    auto& place = flags.given[&setting];
    auto* option = app.add_option(flag_of(setting.key), place, help)->group("Settings");
    if (std::holds_alternative<bool>(value))
      option->expected(0, 1)->type_name("");
    else if (std::holds_alternative<std::vector<std::string>>(value))
      option->expected(1, -1);
    else
      option->expected(1)->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
    if (!std::holds_alternative<bool>(value)) option->type_name("VALUE");
  }
}

Result<void> apply_flags(CLI::App& app, Span<const Setting> settings, const Flags& flags) {
  for (const Setting& setting : settings) {
    if (app.count(flag_of(setting.key)) == 0) continue;
    const std::vector<std::string>& texts = flags.given.at(&setting);
    Result<Value> value = Value(true);  // a bare --flag
    if (std::holds_alternative<std::vector<std::string>>(setting.get()))
      value = Value(texts);
    else if (!texts.empty() && !texts.back().empty())
      value = value_from(texts.back(), setting);
    else if (!std::holds_alternative<bool>(setting.get()))
      value = Value(std::string());
    if (!value) return tl::unexpected<Error>(std::move(value).error());
    WDMOE_TRY(assign(setting, *value, flag_of(setting.key)));
  }
  return {};
}

Result<void> apply_file(const Program& program, const Flags& flags, Span<const Setting> settings) {
  std::string file = flags.file;
  if (file.empty()) {
    std::error_code ignored;
    if (program.default_file.empty() || !std::filesystem::exists(program.default_file, ignored))
      return {};
    file = program.default_file;
  }
  const auto text = read_config_file(file);
  if (!text) return tl::unexpected<Error>(text.error());
  return read_toml(*text, file, settings);
}

void require(const Result<void>& result) {
  if (!result) throw ConfigError(result.error().text);
}

}  // namespace

Check between(double min, double max) {
  Check check;
  check.min = min;
  check.max = max;
  return check;
}

Check one_of(std::vector<std::string> choices) {
  Check check;
  check.choices = std::move(choices);
  return check;
}

Check not_empty() {
  Check check;
  check.not_empty = true;
  return check;
}

Check anything() {
  return {};
}

Result<void> assign(const Setting& setting, const Value& value, const std::string& where) {
  const bool fits = satisfies(value, setting.check) && setting.set(value);
  if (!fits)
    return fail(Code::bad_input,
                where + " = " + toml_text(value) + ": expected " + expectation(setting));
  return {};
}

Result<void> read_toml(std::string_view text, std::string_view file, Span<const Setting> settings,
                       Span<const SettingList> lists) {
  try {
    const toml::table table = toml::parse(text, std::string(file));
    return read_table(table, "", file, settings, lists);
  } catch (const toml::parse_error& error) {
    return fail(Code::bad_input, std::string(file) + ":" +
                                     std::to_string(error.source().begin.line) +
                                     ": not TOML: " + std::string(error.description()));
  }
}

Result<std::string> read_config_file(const std::string& path) {
  std::error_code error;
  const std::uintmax_t size = std::filesystem::file_size(path, error);
  if (error) return fail(Code::io, path + ": cannot read the configuration: " + error.message());
  if (size > kLargestFile)
    return fail(Code::limit, path + ": larger than 1 MiB: not a configuration");
  std::ifstream in(path, std::ios::binary);
  std::string text(std::istreambuf_iterator<char>(in), {});
  if (!in) return fail(Code::io, path + ": cannot read the configuration");
  return text;
}

std::string print_toml(Span<const Setting> settings) {
  // TOML wants a table's keys together, and top-level keys before any table.
  std::vector<std::string> tables{""};
  const auto table_of = [](const std::string& key) {
    const auto dot = key.rfind('.');
    return dot == std::string::npos ? std::string() : key.substr(0, dot);
  };
  for (const Setting& setting : settings)
    if (std::count(tables.begin(), tables.end(), table_of(setting.key)) == 0)
      tables.push_back(table_of(setting.key));

  std::string out;
  for (const std::string& table : tables) {
    if (!table.empty()) out += "\n[" + table + "]\n";
    for (const Setting& setting : settings) {
      if (table_of(setting.key) != table) continue;
      const std::string name = table.empty() ? setting.key : setting.key.substr(table.size() + 1);
      out += "# " + setting.help + " (" + expectation(setting) + ")\n";
      out += name + " = " + toml_text(setting.get()) + "\n";
    }
  }
  return out;
}

bool load_settings(int argc, const char* const* argv, const Program& program,
                   Span<const Setting> settings) {
  CLI::App app(program.summary, program.name);
  app.set_version_flag("--version", program.name + " " WDMOE_VERSION);
  Flags flags;
  declare_flags(app, settings, flags);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    throw EarlyExit{app.help()};
  } catch (const CLI::CallForVersion&) {
    throw EarlyExit{program.name + " " WDMOE_VERSION "\n"};
  } catch (const CLI::ParseError& error) {
    throw ConfigError(std::string(error.what()) + "; see --help");
  }
  require(apply_file(program, flags, settings));
  require(apply_flags(app, settings, flags));
  for (const Setting& setting : settings)  // defaults that stand for "must be given"
    require(assign(setting, setting.get(), setting.key));
  if (flags.print) throw EarlyExit{print_toml(settings)};
  return flags.check;
}

}  // namespace wdmoe
