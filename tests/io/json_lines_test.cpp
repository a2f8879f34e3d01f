#include "io/json_lines.hpp"

#include "tests/io/text_fixture.hpp"

#include <vector>

using namespace sluice;
using namespace sluice::testing;

namespace {

std::vector<std::string> texts_of(const std::string& path, const std::string& key = "text")
{
    JsonLines lines(path, key);
    std::vector<std::string> texts;
    for (std::string text; lines.next(text);)
        texts.push_back(text);
    return texts;
}

const std::vector<std::string> one_two{"one", "two"};

} // namespace

BOOST_AUTO_TEST_SUITE(json_lines)

BOOST_AUTO_TEST_CASE(reads_the_text_of_each_line)
{
    const TextFolder folder;
    const std::string c4 = "{\"text\":\"one\",\"timestamp\":\"2019\",\"url\":\"http://x\"}\n"
                           "{\"url\":\"\",\"text\":\"two\"}\n";
    BOOST_TEST(texts_of(folder.write("c4.json", c4)) == one_two);
    BOOST_TEST(texts_of(folder.write("c4.json.gz", gzip(c4))) == one_two);
    BOOST_TEST(texts_of(folder.write("no_newline.jsonl", c4.substr(0, c4.size() - 1))) == one_two);
    BOOST_TEST(texts_of(folder.write("blank.jsonl",
                                     "\n{\"text\":\"one\"}\r\n  \n\n{\"text\":\"two\"}\n\n")) ==
               one_two);
    BOOST_TEST(texts_of(folder.write("bom.jsonl", "\xEF\xBB\xBF" + c4)) == one_two);
    BOOST_TEST(texts_of(folder.write("empty.jsonl", "")).empty());
    BOOST_TEST(texts_of(folder.write("key.jsonl", "{\"content\":\"c\",\"text\":\"t\"}"),
                        "content") == std::vector<std::string>{"c"});
}

BOOST_AUTO_TEST_CASE(undoes_escapes)
{
    const TextFolder folder;
    const auto texts =
        texts_of(folder.write("escapes.jsonl", R"({"text":"a\n\"b\"\t\u00e9\ud83c\udf0a\\"})"));
    BOOST_TEST(texts == std::vector<std::string>{"a\n\"b\"\t\xC3\xA9\xF0\x9F\x8C\x8A\\"});
}

BOOST_AUTO_TEST_CASE(lines_longer_than_any_buffer)
{
    const TextFolder folder;
    std::vector<std::string> texts;
    std::string file;
    for (const std::size_t size : {10u, 3'000'000u, 5u, 1'048'576u, 2'500'000u, 1u}) {
        std::string text(size, 'w');
        text.back() = static_cast<char>('a' + texts.size());
        file += "{\"text\":\"" + text + "\"}\n";
        texts.push_back(text);
    }
    BOOST_TEST((texts_of(folder.write("long.jsonl", file)) == texts));
}

BOOST_AUTO_TEST_CASE(bad_lines_are_named)
{
    const TextFolder folder;
    const auto refused = [&](const std::string& second, std::initializer_list<std::string> parts) {
        const std::string path = folder.write("bad.jsonl", "{\"text\":\"one\"}\n" + second);
        check_data_error([&] { texts_of(path); }, {"bad.jsonl line 2"});
        check_data_error([&] { texts_of(path); }, parts);
    };
    refused("{\"text\": \n", {"JSON"});
    refused("{\"body\":\"x\",\"id\":1}\n", {"no key 'text'", "'body', 'id'", "--text-key"});
    refused("{\"text\":7}\n", {"not a string"});
    refused("{\"text\":null}\n", {"not a string"});
    refused("[{\"text\":\"x\"}]\n", {"not an object"});
    refused("plain words\n", {"--format text"});
    refused("{\"text\":\"\xFF\"}\n", {"UTF"});
    refused("{\"text\":\"x\"} {\"text\":\"y\"}\n", {"JSON"});
}

BOOST_AUTO_TEST_CASE(forgiven_lines_are_passed_over)
{
    const TextFolder folder;
    const std::string path = folder.write(
        "crawl.jsonl", "{\"text\":\"one\"}\n{\"text\":null}\nnot json\n{\"text\":\"two\"}\n[]\n");
    std::vector<std::string> heard;
    JsonLines lines(path, "text", [&](const std::string& problem) {
        heard.push_back(problem);
        return heard.size() < 3;
    });
    std::string text;
    BOOST_TEST(lines.next(text));
    BOOST_TEST(lines.next(text));
    BOOST_TEST(text == "two");
    check_data_error([&] { lines.next(text); }, {"crawl.jsonl line 5", "not an object"});
    BOOST_TEST_REQUIRE(heard.size() == 3u);
    BOOST_TEST(heard[0].ends_with("crawl.jsonl line 2: 'text' is not a string"), heard[0]);
    BOOST_TEST(heard[1].find("line 3: not a JSON object: ") != std::string::npos, heard[1]);
}

BOOST_AUTO_TEST_CASE(damage_of_the_file_comes_before_what_it_does_to_a_line)
{
    const TextFolder folder;
    std::string lines;
    for (int i = 0; i < 200'000; ++i)
        lines += "{\"text\":\"" + std::to_string(i) + "\"}\n";
    std::string packed = gzip(lines, 0); // stored: only the checksum at the end can tell
    packed[packed.find("\"text\":\"77\"")] = 'x';
    const std::string path = folder.write("damaged.json.gz", packed);
    check_data_error([&] { texts_of(path); }, {"damaged.json.gz", "damaged gzip file", "at byte"});
}

BOOST_AUTO_TEST_CASE(tells_json_lines_from_other_json)
{
    const TextFolder folder;
    BOOST_TEST(looks_like_json_lines(folder.write("a", "{\"x\":1}\nanything")));
    BOOST_TEST(looks_like_json_lines(folder.write("a.gz", gzip("{\"x\":1}"))));
    BOOST_TEST(!looks_like_json_lines(folder.write("b", "{\n  \"x\": 1\n}\n")));
    BOOST_TEST(!looks_like_json_lines(folder.write("c", "[1, 2]\n")));
    BOOST_TEST(!looks_like_json_lines(folder.write("d", "")));
    const std::string long_line = "{\"x\":\"" + std::string(3'000'000, 'y') + "\"}\n";
    BOOST_TEST(looks_like_json_lines(folder.write("e", long_line + "{}\n")));
    const std::string cut = folder.write("f", "lf a record\"}\n{\"x\":1}\n");
    BOOST_TEST(!looks_like_json_lines(cut));
    BOOST_TEST(!looks_like_json_lines(cut, "x")); // no string
    const std::string texts = folder.write("g", "lf a record\"}\n{\"x\":\"1\"}\n");
    BOOST_TEST(looks_like_json_lines(texts, "x"));
    BOOST_TEST(!looks_like_json_lines(texts, "text"));
    BOOST_TEST(!looks_like_json_lines(
        folder.write("h", "{\n \"items\": [\n  {\"a\":1},\n  {\"b\":2}\n ]\n}\n"), "text"));
    BOOST_TEST(!looks_like_json_lines(folder.write("i", "[" + std::string(3'000'000, ' ') + "]")));
    BOOST_TEST(looks_like_json_lines(folder.write("j.gz", gzip(long_line + long_line))));
}

BOOST_AUTO_TEST_SUITE_END()
