#include "io/tokenizer.hpp"

#include "core/checksum.hpp"
#include "tests/io/text_fixture.hpp"
#include "tests/source_folder.hpp"

using namespace sluice;
using namespace sluice::testing;

namespace {

const std::string model_file = sluice::source_path("tests/io/data/tiny_sentencepiece.model");

std::vector<std::uint32_t> encode(const Tokenizer& tokenizer, std::string_view text)
{
    std::vector<std::uint32_t> ids;
    tokenizer.encode(text, ids);
    return ids;
}

} // namespace

BOOST_AUTO_TEST_SUITE(tokenizer)

BOOST_AUTO_TEST_CASE(bytes_are_their_own_ids)
{
    const auto bytes = make_tokenizer("bytes");
    BOOST_TEST(encode(*bytes, "a\xC3\xA9\n") == (std::vector<std::uint32_t>{97, 0xC3, 0xA9, 10}),
               boost::test_tools::per_element());
    BOOST_TEST(bytes->vocab_size() == 257u);
    BOOST_TEST(bytes->end_token() == 256u);
    BOOST_TEST(bytes->description() == "bytes");
    const std::vector<std::uint32_t> ids{104, 105, 256, 33};
    BOOST_TEST(bytes->decode(ids) == "hi!");
}

BOOST_AUTO_TEST_CASE(encoding_appends)
{
    for (const std::string& name : {std::string("bytes"), model_file}) {
        const auto tokenizer = make_tokenizer(name);
        std::vector<std::uint32_t> ids{5};
        tokenizer->encode("the gate", ids);
        const auto alone = encode(*tokenizer, "the gate");
        BOOST_TEST(ids.front() == 5u);
        BOOST_TEST(std::vector<std::uint32_t>(ids.begin() + 1, ids.end()) == alone,
                   boost::test_tools::per_element());
    }
}

BOOST_AUTO_TEST_CASE(sentencepiece_gives_the_ids_of_its_own_tools)
{
    const auto pieces = make_tokenizer(model_file);
    // printf 'The gate opens' | spm_encode --model=tiny_sentencepiece.model --output_format=id
    BOOST_TEST(encode(*pieces, "The gate opens") ==
                   (std::vector<std::uint32_t>{3, 37, 26, 17, 63, 14, 39, 4}),
               boost::test_tools::per_element());
    BOOST_TEST(pieces->decode(encode(*pieces, "The water rises.")) == "The water rises.");
    BOOST_TEST(pieces->end_token() == 2u);
    BOOST_TEST(pieces->vocab_size() > 50u);
    BOOST_TEST(pieces->description() ==
               "sentencepiece:tiny_sentencepiece.model:" + checksum_of_file(model_file));
}

BOOST_AUTO_TEST_CASE(text_never_encodes_to_the_end_token)
{
    for (const std::string& name : {std::string("bytes"), model_file}) {
        const auto tokenizer = make_tokenizer(name);
        for (const std::uint32_t id : encode(*tokenizer, "</s> <s> <end> \xFF"))
            BOOST_TEST(id != tokenizer->end_token());
    }
}

BOOST_AUTO_TEST_CASE(refuses_what_is_not_a_tokenizer)
{
    const TextFolder folder;
    check_data_error([&] { make_tokenizer(folder / "nowhere.model"); }, {"nowhere.model", "bytes"});
    const std::string text = folder.write("text.model", "this is not a model");
    check_data_error([&] { make_tokenizer(text); }, {"text.model", "not a SentencePiece model"});
    const std::string empty = folder.write("empty.model", "");
    check_data_error([&] { make_tokenizer(empty); }, {"empty.model"});
    check_data_error(
        [&] { make_tokenizer(source_path("tests/io/data/no_end_sentencepiece.model")); },
        {"no_end_sentencepiece.model", "end-of-sentence"});
}

BOOST_AUTO_TEST_SUITE_END()
