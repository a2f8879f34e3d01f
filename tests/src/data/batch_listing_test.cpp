#include "src/data/batch_listing.hpp"

#include "io/batch_reader.hpp"
#include "src/data/token_file_listing.hpp"
#include "tests/io/text_fixture.hpp"
#include "tests/io/token_file_fixture.hpp"

#include <nlohmann/json.hpp>

using namespace sluice;
using namespace sluice::testing;

namespace {

/// Updates of 3 micro-batches of 2 sequences of 8 tokens.
RunConfig small_run()
{
    RunConfig config;
    config.model.vocab_size = 257;
    config.batch.global_batch_size = 6;
    config.batch.micro_batch_size = 2;
    config.batch.seq_len = 8;
    config.run.seed = 3;
    return config;
}

struct Example {
    Example() { write_counting_file(folder / "t.h5", 500, 257); }
    TextFolder folder;
    RunConfig config = small_run();
};

} // namespace

BOOST_AUTO_TEST_SUITE(batch_listing)

BOOST_AUTO_TEST_CASE(lists_what_the_executor_reads)
{
    const Example example;
    const TokenFile file(example.folder / "t.h5");
    const auto samples = list_batch(example.config, file, 4);
    BOOST_REQUIRE(samples.size() == 6u);
    const auto reader = BatchReader::shuffled(file, 8, 3);
    std::vector<std::int32_t> inputs(16), targets(16); // [2,8]
    for (std::int64_t m = 0; m < 3; ++m) {
        reader.read(first_sample_of_microbatch(4, m, 6, 2), view_of(inputs.data(), {2, 8}),
                    view_of(targets.data(), {2, 8}));
        for (std::size_t b = 0; b < 2; ++b) {
            const ListedSample& listed = samples[static_cast<std::size_t>(m) * 2 + b];
            BOOST_TEST(listed.sample == 18 + static_cast<std::uint64_t>(m) * 2 + b);
            BOOST_TEST(listed.microbatch == m);
            BOOST_TEST(std::equal(listed.inputs.begin(), listed.inputs.end(), &inputs[8 * b]));
            BOOST_TEST(std::equal(listed.targets.begin(), listed.targets.end(), &targets[8 * b]));
            BOOST_TEST(listed.inputs.front() == static_cast<std::int32_t>(listed.window * 8 % 256));
        }
    }
    BOOST_TEST(list_batch(example.config, file, 11).back().epoch == 1u); // 62 windows, sample 65
}

BOOST_AUTO_TEST_CASE(the_json_form_is_the_contract)
{
    const Example example;
    const TokenFile file(example.folder / "t.h5");
    const auto samples = list_batch(example.config, file, 2);
    const std::string text = listing_json(2, samples);
    BOOST_TEST(text.starts_with("{\"update\":2,\"samples\":[6,7,8,9,10,11],\"inputs\":[["));
    const auto json = nlohmann::json::parse(text);
    BOOST_TEST(json.size() == 4u);
    BOOST_REQUIRE(json["targets"].size() == 6u);
    for (std::size_t i = 0; i < 6; ++i) {
        BOOST_TEST((json["inputs"][i].get<std::vector<std::int32_t>>() == samples[i].inputs));
        BOOST_TEST((json["targets"][i].get<std::vector<std::int32_t>>() == samples[i].targets));
    }
}

BOOST_AUTO_TEST_CASE(the_text_form_shows_the_text_of_bytes)
{
    const TextFolder folder;
    const std::string text = "gate\n\tx\x1b[";
    write_token_file(folder / "t.h5", 257,
                     {std::vector<std::uint32_t>(text.begin(), text.end()), {'z'}});
    RunConfig config = small_run();
    config.batch.global_batch_size = config.batch.micro_batch_size = 1;
    config.batch.seq_len = 10;
    const TokenFile file(folder / "t.h5");
    const std::string shown = listing_text(1, list_batch(config, file, 1), file.info());
    BOOST_TEST(shown.find("gate\\n\\tx\\x1b[<end>") != std::string::npos, shown);
    BOOST_TEST(shown.find("103 97 116 101 10 9 120 27 91 256") != std::string::npos, shown);
}

BOOST_AUTO_TEST_CASE(refuses_other_tokens_than_the_runs)
{
    Example example;
    const TokenFile file(example.folder / "t.h5");
    example.config.data.train_checksum = file.info().checksum;
    list_batch(example.config, file, 1);
    example.config.data.train_checksum = "0123";
    check_data_error([&] { list_batch(example.config, file, 1); }, {"t.h5", "checksum", "0123"});
    example.config = small_run();
    example.config.model.vocab_size = 100;
    check_data_error([&] { list_batch(example.config, file, 1); }, {"vocabulary"});
}

BOOST_AUTO_TEST_CASE(token_files_describe_themselves)
{
    const Example example;
    const TokenFile file(example.folder / "t.h5");
    const auto json = nlohmann::json::parse(token_file_json(file.info(), true));
    BOOST_TEST(json["num_tokens"] == 500);
    BOOST_TEST(json["dtype"] == "u16");
    BOOST_TEST(json["verified"] == true);
    const std::string text = token_file_text(file.info(), false);
    BOOST_TEST(text.find("num_tokens     500\n") != std::string::npos, text);
    BOOST_TEST(text.find("tokenizer      bytes\n") != std::string::npos, text);
    BOOST_TEST(text.find("verified") == std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()
