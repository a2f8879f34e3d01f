#include "io/sentencepiece_check.hpp"

#include "core/durable_file.hpp"
#include "tests/source_folder.hpp"

#include <boost/test/unit_test.hpp>
#include <cstdint>
#include <cstring>
#include <vector>

using namespace sluice;

namespace {

// Protocol buffers, as far as they are needed here: lengths up to 2 MB.
std::string field(int number, std::string_view bytes)
{
    const auto size = static_cast<std::uint32_t>(bytes.size());
    std::string text{static_cast<char>(number << 3 | 2), static_cast<char>(size | 0x80),
                     static_cast<char>(size >> 7 | 0x80), static_cast<char>(size >> 14)};
    return text.append(bytes);
}

std::string as_bytes(const std::vector<std::uint32_t>& numbers)
{
    return {reinterpret_cast<const char*>(numbers.data()), 4 * numbers.size()};
}

constexpr int normalizer_spec = 3, denormalizer_spec = 5, precompiled_charsmap = 2;

std::string model_with(const std::vector<std::uint32_t>& trie, std::string_view replacements,
                       int spec = normalizer_spec)
{
    const auto size = static_cast<std::uint32_t>(4 * trie.size());
    const std::string charsmap = as_bytes({size}) + as_bytes(trie) + std::string(replacements);
    return field(1, "a piece") + field(spec, field(precompiled_charsmap, charsmap));
}

constexpr std::uint32_t has_value = 0x100, is_value = 0x80000000, far_offset = 0x200;
constexpr std::uint32_t offset(std::uint32_t places) { return places << 10; }

/// 'A' becomes the text at `place` of the replacements: from the root, at 0, the byte 65 leads to
/// unit 65, whose offset leads on to 64, where the value is.
std::vector<std::uint32_t> one_rule(std::uint32_t place = 0)
{
    std::vector<std::uint32_t> trie(256, 'z'); // a label that fits none of the other places
    trie['z'] = 'y';
    trie[0] = offset(0) | 1;
    trie['A'] = offset(1) | has_value | 'A';
    trie['A' ^ 1] = is_value | place;
    return trie;
}

void refused(const std::string& model, const std::string& why)
{
    BOOST_TEST(problem_with_normalisation(model).find(why) != std::string::npos,
               problem_with_normalisation(model));
}

} // namespace

BOOST_AUTO_TEST_SUITE(sentencepiece_check)

BOOST_AUTO_TEST_CASE(good_rules_pass)
{
    using namespace std::string_view_literals;
    BOOST_TEST(problem_with_normalisation(model_with(one_rule(), "a\0"sv)).empty());
    BOOST_TEST(problem_with_normalisation(model_with(one_rule(3), "xy\0a\0"sv)).empty());
    BOOST_TEST(problem_with_normalisation(field(1, "a piece")).empty());
    BOOST_TEST(
        problem_with_normalisation(read_file(source_path("tests/io/data/tiny_sentencepiece.model")))
            .empty());
}

BOOST_AUTO_TEST_CASE(rules_that_lead_out_are_refused)
{
    using namespace std::string_view_literals;
    const std::string out = "lead outside themselves";
    for (const int spec : {normalizer_spec, denormalizer_spec}) {
        refused(model_with(one_rule(2), "a\0"sv, spec), out); // behind the replacements
        refused(model_with(one_rule(0x7fffffff), "a\0"sv, spec), out);
        auto trie = one_rule();
        trie[0] = offset(256); // the root itself
        refused(model_with(trie, "a\0"sv, spec), out);
        trie = one_rule();
        trie['A'] = offset(1) | far_offset | 'A'; // 256 units on
        refused(model_with(trie, "a\0"sv, spec), out);
        trie = one_rule();
        trie['A'] = offset(0x1fffff) | far_offset | 'A';
        refused(model_with(trie, "a\0"sv, spec), out);
    }
    std::vector<std::uint32_t> second =
        one_rule();                  // a rule of two bytes, of which the second is bad
    second['A'] = offset('A') | 'A'; // back to the root's place
    second['A' ^ 1] = offset(0x1fffff) | ('A' ^ 1);
    refused(model_with(second, "a\0"sv), out);
}

BOOST_AUTO_TEST_CASE(rules_that_are_cut_are_refused)
{
    using namespace std::string_view_literals;
    refused(model_with(one_rule(), ""sv), "cut");
    refused(model_with(one_rule(), "no end"sv), "cut");
    refused(model_with({}, "a\0"sv), "cut");
    refused(model_with({1, 2, 3}, "a\0"sv), "lead outside"); // less than one node
    refused(field(normalizer_spec, field(precompiled_charsmap, "ab")), "cut");
    refused(field(normalizer_spec, field(precompiled_charsmap, "\x09\0\0\0abc"sv)), "cut");
    refused(field(normalizer_spec, field(precompiled_charsmap, "\xff\xff\xff\xff abc"sv)), "cut");
    refused(field(normalizer_spec, "\x0f"), "damaged");
    const std::string whole = model_with(one_rule(), "a\0"sv);
    for (std::size_t size = 12; size < whole.size(); ++size)
        BOOST_TEST(!problem_with_normalisation(whole.substr(0, size)).empty());
}

BOOST_AUTO_TEST_SUITE_END()
