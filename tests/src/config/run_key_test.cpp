// docs/run-file.md and the table of keys say the same.
#include "src/config/presets.hpp"
#include "src/config/run_key.hpp"
#include "tests/source_folder.hpp"
#include "tests/src/config/run_text_fixture.hpp"

#include <fstream>
#include <set>
#include <sstream>

using namespace sluice;

BOOST_AUTO_TEST_SUITE(run_key)

/// The cells of a row of a Markdown table, trimmed.
std::vector<std::string> cells_of(const std::string& line)
{
    std::vector<std::string> cells;
    std::istringstream stream(line.substr(1));
    for (std::string cell; std::getline(stream, cell, '|');) {
        const auto begin = cell.find_first_not_of(' ');
        cells.push_back(begin == std::string::npos
                            ? ""
                            : cell.substr(begin, cell.find_last_not_of(' ') - begin + 1));
    }
    return cells;
}

std::string without_backticks(const std::string& cell)
{
    return cell.size() > 2 && cell.front() == '`' && cell.back() == '`'
               ? cell.substr(1, cell.size() - 2)
               : std::string();
}

std::string document()
{
    std::ifstream stream(source_path("docs/run-file.md"));
    BOOST_REQUIRE(stream.is_open());
    return {std::istreambuf_iterator<char>(stream), {}};
}

BOOST_AUTO_TEST_CASE(the_document_lists_every_key_and_no_other)
{
    std::istringstream stream(document());
    std::set<std::string> documented;
    std::string section;
    const RunConfig defaults;
    for (std::string line; std::getline(stream, line);) {
        if (line.starts_with("## "))
            section = line.starts_with("## [") ? line.substr(4, line.find(']') - 4) : "";
        if (section.empty() || !line.starts_with("| `"))
            continue;
        const auto cells = cells_of(line);
        if (cells.size() != 5) // tables of values, not of keys
            continue;
        const std::string name = section + "." + without_backticks(cells[0]);
        BOOST_TEST_CONTEXT(name)
        {
            const RunKey* key = find_run_key(section, without_backticks(cells[0]));
            BOOST_REQUIRE_MESSAGE(key != nullptr, "documented, but unknown: " << name);
            const char* const effects[] = {"layout", "rounding", "result"};
            BOOST_TEST(cells[3] == effects[static_cast<int>(key->effect)]);
            if (const std::string value = without_backticks(cells[2]); !value.empty())
                BOOST_TEST(value == toml_text(key->get(defaults)));
            documented.insert(name);
        }
    }
    for (const RunKey& key : run_keys())
        BOOST_TEST(documented.contains(key.full_name()), "not documented: " << key.full_name());
}

BOOST_AUTO_TEST_CASE(the_document_names_every_schedule_and_preset)
{
    const std::string text = document();
    for (const std::string_view name : warmup_schedule_names())
        check_mentions(text, {"`" + std::string(name) + "`"});
    for (const std::string& name : preset_names())
        check_mentions(text, {"| `" + name + "` |"});
}

BOOST_AUTO_TEST_CASE(the_smallest_run_of_the_document_parses)
{
    const std::string text = document();
    const auto begin = text.find("```toml\n") + 8;
    BOOST_TEST(message_of(text.substr(begin, text.find("```", begin) - begin)) == "");
}

BOOST_AUTO_TEST_CASE(names_are_unique)
{
    std::set<std::string> names;
    for (const RunKey& key : run_keys())
        BOOST_TEST(names.insert(key.full_name()).second, key.full_name());
}

BOOST_AUTO_TEST_SUITE_END()
