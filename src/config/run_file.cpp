#include "src/config/run_file.hpp"

#include "core/error.hpp"
#include "src/config/checked_toml.hpp"
#include "src/config/nearest_name.hpp"
#include "src/config/run_key.hpp"
#include "src/text/trimmed.hpp"

#include <algorithm>

namespace sluice {

namespace {

ConfigPayload payload_of(const toml::node& node)
{
    if (const auto* truth = node.as_boolean())
        return truth->get();
    if (const auto* integer = node.as_integer())
        return integer->get();
    if (const auto* real = node.as_floating_point())
        return real->get();
    if (const auto* text = node.as_string())
        return text->get();
    if (const auto* array = node.as_array()) {
        std::vector<double> numbers;
        for (const toml::node& element : *array) {
            const auto number = element.value<double>();
            if (!number || !element.is_number())
                return UnusableValue{"an array that holds something else than numbers"};
            numbers.push_back(*number);
        }
        return numbers;
    }
    return UnusableValue{node.is_table() ? "a section" : "a date or time"};
}

std::string at_line(const std::string& source, const toml::source_region& region)
{
    return source + ":" + std::to_string(region.begin.line);
}

/// "did you mean ...? " for a word that may be a key of another section, or nearly a key of this.
std::string key_suggestion(const std::string& section, const std::string& name)
{
    if (const auto nearest = nearest_name(name, key_names(section)); !nearest.empty())
        return "did you mean '" + nearest + "'? ";
    for (const RunKey& key : run_keys())
        if (key.name == name)
            return "did you mean '" + key.full_name() + "'? ";
    std::vector<std::string> all;
    for (const RunKey& key : run_keys())
        all.emplace_back(key.name);
    const auto nearest = nearest_name(name, all);
    for (const RunKey& key : run_keys())
        if (!nearest.empty() && key.name == nearest)
            return "did you mean '" + key.full_name() + "'? ";
    return {};
}

void require_section(const std::string& section, const std::string& where)
{
    const auto sections = section_names();
    for (const std::string& known : sections)
        if (known == section)
            return;
    const auto nearest = nearest_name(section, sections);
    throw usage_error(
        "unknown section [" + section + "]", where,
        (nearest.empty() ? key_suggestion({}, section) : "did you mean [" + nearest + "]? ") +
            "sections: " + listed(sections));
}

void require_key(const std::string& section, const std::string& name, const std::string& where)
{
    if (find_run_key(section, name) == nullptr)
        throw usage_error("unknown key '" + name + "' in [" + section + "]", where,
                          key_suggestion(section, name) + "keys of [" + section +
                              "]: " + listed(key_names(section)));
}

/// Deeper than any key of ours, and far from what the parser's recursion can bear.
constexpr std::ptrdiff_t most_dots = 100;

/// Names in "a.b.c" on one line, at most; dots without a name between them are decoration.
std::ptrdiff_t num_dots(std::string_view line)
{
    std::ptrdiff_t count = 0;
    char before = '\0';
    for (const char c : line) {
        count += c == '.' && before != '.' ? 1 : 0;
        before = c == ' ' || c == '\t' ? before : c;
    }
    return count;
}

void refuse_deep_keys(std::string_view text, const std::string& source)
{
    for (int number = 1; !text.empty(); ++number) {
        const std::string_view line = text.substr(0, text.find('\n'));
        if (num_dots(line) > most_dots)
            throw usage_error("more than " + std::to_string(most_dots) + " dots",
                              source + ":" + std::to_string(number),
                              "keys here have a section and a name: section.name");
        text.remove_prefix(std::min(line.size() + 1, text.size()));
    }
}

toml::table parsed(std::string_view text, const std::string& source)
{
    refuse_deep_keys(text, source);
    try {
        return toml::parse(text, std::string_view(source));
    } catch (const TomlAssertion& error) {
        throw usage_error("not valid TOML: the parser gave up (" + std::string(error.what()) + ")",
                          source,
                          "look for brackets and keys that are wrong (https://toml.io has the "
                          "rules)");
    } catch (const toml::parse_error& error) {
        throw usage_error("not valid TOML: " + std::string(error.description()),
                          at_line(source, error.source()),
                          "correct this line (https://toml.io has the rules; strings stand in "
                          "double quotes)");
    }
}

void read_section(RunFile& file, const std::string& section, const toml::table& table,
                  const std::filesystem::path& base)
{
    for (auto&& [key, node] : table) {
        const std::string name(key.str());
        const std::string place = at_line(file.source, key.source()) + ": " + section + "." + name;
        require_key(section, name, place);
        file.values[section + "." + name] = {payload_of(node), place, base};
    }
}

/// A TOML value, or the text itself where it is none: 1f1b, tokens.h5, 7,5.
ConfigPayload override_payload(const std::string& text)
{
    if (num_dots(text) > most_dots)
        return text;
    try {
        const toml::table table = toml::parse("value = " + text);
        const toml::node* node = table.get("value");
        if (table.size() == 1 && node != nullptr && !node->is_date() && !node->is_time() &&
            !node->is_date_time())
            return payload_of(*node);
    } catch (const toml::parse_error&) {
        // A bare word, or digits that are more than the parser's integers hold.
        const std::size_t first = text.starts_with('-') || text.starts_with('+') ? 1 : 0;
        if (text.size() > first + 18 &&
            text.find_first_not_of("0123456789", first) == std::string::npos)
            return UnusableValue{"a number beyond 63 bits"};
    } catch (const TomlAssertion&) {
        // Perhaps a bare word, certainly no TOML.
    }
    return text;
}

void apply_override(RunFile& file, const std::string& text)
{
    const std::string where = "--set " + text;
    const auto equals = text.find('=');
    if (equals == std::string::npos)
        throw usage_error("an override needs a value", where,
                          "write --set section.key=value, like --set optimizer.lr=1e-3");
    const std::string full_name(trimmed(std::string_view(text).substr(0, equals)));
    const auto dot = full_name.find('.');
    if (dot == std::string::npos) {
        const auto suggestion = key_suggestion({}, full_name);
        throw usage_error("'" + full_name + "' names no section", where,
                          suggestion + "write --set section.key=value");
    }
    const std::string section = full_name.substr(0, dot), name = full_name.substr(dot + 1);
    require_section(section, where);
    require_key(section, name, where);
    const std::string value(trimmed(std::string_view(text).substr(equals + 1)));
    file.values[full_name] = {override_payload(value), where, std::filesystem::current_path(),
                              true};
}

} // namespace

std::string RunFile::where(std::initializer_list<std::string> full_names) const
{
    for (const std::string& name : full_names)
        if (const auto found = values.find(name); found != values.end())
            return found->second.where;
    return source + ": " + *full_names.begin();
}

RunFile read_run_file(std::string_view text, const std::string& source,
                      const std::filesystem::path& base, const std::vector<std::string>& overrides)
{
    RunFile file{.source = source, .values = {}};
    const toml::table root = parsed(text, source);
    for (auto&& [key, node] : root) {
        const std::string section(key.str());
        const std::string place = at_line(source, key.source());
        if (const toml::table* table = node.as_table()) {
            require_section(section, place);
            read_section(file, section, *table, base);
        } else {
            const bool known = !key_names(section).empty();
            throw usage_error("'" + section + "' stands outside of any section", place,
                              known ? "'" + section + "' is a section: write [" + section + "]"
                                    : key_suggestion({}, section) +
                                          "sections: " + listed(section_names()));
        }
    }
    for (const std::string& override_text : overrides)
        apply_override(file, override_text);
    return file;
}

} // namespace sluice
