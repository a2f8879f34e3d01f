#include "io/text_source.hpp"

#include "tests/io/text_fixture.hpp"

#include <vector>

using namespace sluice;
using namespace sluice::testing;

namespace {

using Texts = std::vector<std::string>;

/// Documents with their pieces joined; checks that pieces come in order.
struct Documents {
    Texts texts, notes;
    std::vector<std::size_t> num_pieces;
    TextSourceCounts counts;

    explicit Documents(const std::vector<std::string>& inputs, TextSourceOptions options = {})
    {
        const std::size_t max_piece_bytes = options.max_piece_bytes;
        TextSource source(inputs, std::move(options),
                          [this](const std::string& text) { notes.push_back(text); });
        bool ended = true;
        for (TextPiece piece; source.next(piece);) {
            if (ended) {
                texts.emplace_back();
                num_pieces.push_back(0);
            }
            BOOST_TEST(piece.document == texts.size() - 1);
            BOOST_TEST(piece.text.size() <= max_piece_bytes);
            texts.back() += piece.text;
            ++num_pieces.back();
            ended = piece.ends_document;
        }
        BOOST_TEST(ended);
        counts = source.counts();
        BOOST_TEST(counts.documents == texts.size());
        BOOST_TEST(source.input_bytes_done() <= source.total_input_bytes());
    }
};

TextSourceOptions small_pieces(std::size_t bytes)
{
    TextSourceOptions options;
    options.max_piece_bytes = bytes;
    return options;
}

} // namespace

BOOST_AUTO_TEST_SUITE(text_source)

BOOST_AUTO_TEST_CASE(files_and_lines_are_documents)
{
    const TextFolder folder;
    folder.write("f/1.txt", "first\nfile\n");
    folder.write("f/2.jsonl",
                 "{\"text\":\"line one\"}\n{\"text\":\"\"}\n{\"text\":\"line two\"}\n");
    folder.write("f/3.txt.gz", gzip("packed"));
    folder.write("f/4.json.gz", gzip("{\"text\":\"c4\"}\n") + gzip("{\"text\":\"more\"}\n"));
    folder.write("f/5.json", "{\n  \"settings\": true\n}\n");
    const Documents found({folder / "f"});
    BOOST_TEST(found.texts == (Texts{"first\nfile\n", "line one", "line two", "packed", "c4",
                                     "more", "{\n  \"settings\": true\n}\n"}));
    BOOST_TEST(found.counts.files_read == 5u);
    BOOST_TEST(found.counts.empty_documents == 1u);
    BOOST_TEST(found.counts.text_bytes == 11u + 8 + 8 + 6 + 2 + 4 + 23);
}

BOOST_AUTO_TEST_CASE(formats_can_be_forced)
{
    const TextFolder folder;
    const std::string lines = folder.write("lines.log", "{\"body\":\"x\"}\n");
    TextSourceOptions options;
    const Documents as_text({lines});
    BOOST_TEST(as_text.texts == Texts{"{\"body\":\"x\"}\n"});
    BOOST_TEST_REQUIRE(as_text.notes.size() == 1U);
    BOOST_TEST(as_text.notes[0].find("lines.log is read as text, though") != std::string::npos);
    TextSource unheard({lines}, options); // nobody hears notes
    TextPiece piece;
    BOOST_TEST(unheard.next(piece));
    BOOST_TEST(Documents({folder.write("A.JSONL", "{\"text\":\"a\"}\n")}).texts == Texts{"a"});
    options.format = TextFormat::jsonl;
    options.text_key = "body";
    BOOST_TEST(Documents({lines}, options).texts == Texts{"x"});
    const std::string json = folder.write("pretty.json", "{\n}\n");
    check_data_error([&] { Documents({json}); }, {"pretty.json line 1"});
    options.format = TextFormat::text;
    BOOST_TEST(Documents({json}, options).texts == Texts{"{\n}\n"});
}

BOOST_AUTO_TEST_CASE(so_many_bad_lines_of_all_files_are_passed_over)
{
    const TextFolder folder;
    folder.write("f/1.jsonl", "{\"text\":\"a\"}\n{\"text\":3}\n");
    folder.write("f/2.jsonl", "{}\n{\"text\":\"b\"}\n");
    TextSourceOptions options;
    options.max_bad_lines = 2;
    const Documents found({folder / "f"}, options);
    BOOST_TEST(found.texts == (Texts{"a", "b"}));
    BOOST_TEST(found.counts.bad_lines == 2u);
    BOOST_TEST_REQUIRE(found.notes.size() == 2u);
    BOOST_TEST(found.notes[1].find("2.jsonl line 1: no key 'text'") != std::string::npos);
    options.max_bad_lines = 1;
    check_data_error([&] { Documents({folder / "f"}, options); }, {"2.jsonl line 1", "no key"});
}

BOOST_AUTO_TEST_CASE(a_byte_order_mark_is_not_text)
{
    const TextFolder folder;
    folder.write("a.txt", "\xEF\xBB\xBFwater");
    folder.write("b.txt", "\xEF\xBB\xBF");
    const Documents found({folder.path().string()});
    BOOST_TEST(found.texts == Texts{"water"});
    BOOST_TEST(found.counts.files_empty == 1u);
}

BOOST_AUTO_TEST_CASE(long_documents_come_in_pieces)
{
    const TextFolder folder;
    const std::string text = some_text(400'000, 3); // beyond one step of reading
    folder.write("a.txt", text);
    folder.write("b.jsonl", "{\"text\":\"" + std::string(250, 'x') + "\"}\n{\"text\":\"y\"}");
    const Documents found({folder.path().string()}, small_pieces(100));
    BOOST_REQUIRE(found.texts.size() == 3u);
    BOOST_TEST((found.texts[0] == text));
    BOOST_TEST(found.num_pieces[0] > 4000u);
    BOOST_TEST(found.texts[1] == std::string(250, 'x'));
    BOOST_TEST(found.num_pieces[1] == 3u);
    BOOST_TEST(found.num_pieces[2] == 1u);
    const Documents whole({folder.path().string()}, small_pieces(400'000));
    BOOST_TEST(whole.num_pieces[0] == 1u);
    BOOST_TEST((whole.texts[0] == text));
}

BOOST_AUTO_TEST_CASE(pieces_end_with_a_line_and_never_inside_a_code_point)
{
    const TextFolder folder;
    const std::string lines = folder.write("lines.txt", "1234567\n123\n12345678901\n");
    TextSource source({lines}, small_pieces(12));
    TextPiece piece;
    for (const char* expected : {"1234567\n123\n", "12345678901\n"}) {
        BOOST_REQUIRE(source.next(piece));
        BOOST_TEST(piece.text == expected);
    }
    std::string waves;
    for (int i = 0; i < 100; ++i)
        waves += "\xF0\x9F\x8C\x8A";
    const std::string file = folder.write("waves.txt", "x" + waves);
    TextSource wave_source({file}, small_pieces(10));
    while (wave_source.next(piece))
        BOOST_TEST(piece.text.size() % 4 == (piece.text.front() == 'x' ? 1u : 0u));
}

BOOST_AUTO_TEST_CASE(maxima_stop_and_cut)
{
    const TextFolder folder;
    for (int i = 0; i < 5; ++i)
        folder.write(std::to_string(i) + ".txt", "0123456789");
    folder.write("5.txt", "caf\xC3\xA9");
    const std::string all = folder.path().string();
    TextSourceOptions options;
    options.max_documents = 3;
    BOOST_TEST(Documents({all}, options).texts.size() == 3u);
    options = {};
    options.max_bytes = 20;
    BOOST_TEST(Documents({all}, options).texts == (Texts{"0123456789", "0123456789"}));
    options.max_bytes = 25;
    BOOST_TEST(Documents({all}, options).texts == (Texts{"0123456789", "0123456789", "01234"}));
    options.max_bytes = 54; // in the middle of the last character
    BOOST_TEST(Documents({all}, options).texts.back() == "caf");
    options.max_piece_bytes = 4;
    options.max_bytes = 18;
    const Documents pieces({all}, options);
    BOOST_TEST(pieces.texts == (Texts{"0123456789", "01234567"}));
    options.max_bytes = 50'000;
    BOOST_TEST(Documents({all}, options).texts.size() == 6u);
}

BOOST_AUTO_TEST_CASE(what_is_not_text_is_passed_over_in_folders)
{
    using namespace std::string_view_literals;
    const TextFolder folder;
    folder.write("f/a.txt", "good");
    folder.write("f/b.bin", "\x7F\x45LF\0\0\x01"sv);
    folder.write("f/c.txt", "na\xEFve");
    folder.write("f/d.txt", "");
    folder.write("f/e.tar.gz", gzip("ustar\0\0"sv));
    // Bad only far behind the first piece: nothing of it may be handed out.
    folder.write("f/f.txt", some_text(300'000, 4) + "\xFF");
    folder.write("f/g.txt", "good too");
    for (const std::size_t piece_bytes : {std::size_t{64}, std::size_t{4} << 20}) {
        const Documents found({folder / "f"}, small_pieces(piece_bytes));
        BOOST_TEST(found.texts == (Texts{"good", "good too"}));
        BOOST_TEST(found.counts.files_not_text == 4u);
        BOOST_TEST(found.counts.files_empty == 1u);
        BOOST_REQUIRE(found.notes.size() == 5u);
        BOOST_TEST(found.notes[0].find("b.bin: not text: byte 4 is a NUL") != std::string::npos);
        BOOST_TEST(found.notes[1].find("c.txt: not text: line 1 is not UTF-8") !=
                   std::string::npos);
    }
    folder.write("f/h.bz2", "BZh91AY&SY\xFF");
    check_data_error([&] { Documents({folder / "f/h.bz2"}); },
                     {"h.bz2", "compressed by bzip2", "decompress it first"});
    for (const char* name : {"b.bin", "c.txt", "d.txt", "e.tar.gz", "f.txt"})
        check_data_error([&] { Documents({folder / ("f/" + std::string(name))}); }, {name});
}

BOOST_AUTO_TEST_CASE(no_text_at_all_is_an_error)
{
    const TextFolder folder;
    folder.write("f/a.bin", std::string(10, '\0'));
    folder.write("f/b.txt", "");
    folder.write("f/c.jsonl", "{\"text\":\"\"}\n");
    check_data_error([&] { Documents({folder / "f"}); },
                     {"no text", "3 files", "1 of them not text", "1 empty,"});
    const std::string empty = folder.write("empty.jsonl", "\n");
    check_data_error([&] { Documents({empty}); }, {"empty.jsonl"});
}

BOOST_AUTO_TEST_CASE(damaged_gzip_is_an_error_in_folders_too)
{
    const TextFolder folder;
    const std::string packed = gzip(some_text(200'000, 5));
    folder.write("f/a.txt", "good");
    folder.write("f/b.txt.gz", packed.substr(0, packed.size() - 100));
    check_data_error([&] { Documents({folder / "f"}); }, {"b.txt.gz", "damaged"});
}

BOOST_AUTO_TEST_SUITE_END()
