#include "src/data/prepare.hpp"

#include "io/token_file.hpp"
#include "tests/io/text_fixture.hpp"
#include "tests/source_folder.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <thread>

using namespace sluice;
using namespace sluice::testing;

namespace {

const std::string model_file = sluice::source_path("tests/io/data/tiny_sentencepiece.model");

/// 40 documents of very different lengths, plain and as gzipped JSON lines.
void write_texts(const TextFolder& folder)
{
    for (std::uint32_t i = 0; i < 20; ++i)
        folder.write("texts/" + std::to_string(100 + i) + ".txt",
                     some_text(std::size_t{1} << (i % 18), i));
    std::string lines;
    for (std::uint32_t i = 0; i < 20; ++i) {
        std::string text = some_text(500 * (20 - i), 100 + i);
        std::replace(text.begin(), text.end(), '\n', ' ');
        lines += "{\"text\":\"" + text + "\"}\n";
    }
    folder.write("texts/200.json.gz", gzip(lines));
}

PrepareOptions options_for(const TextFolder& folder)
{
    PrepareOptions options;
    options.inputs = {folder / "texts"};
    options.out = folder / "train.h5";
    options.num_threads = 2;
    options.created_by = "test";
    return options;
}

void split(PrepareOptions& options, const TextFolder& folder, double fraction)
{
    options.validation_fraction = fraction;
    options.validation_out = folder / "validation.h5";
}

std::vector<std::int32_t> all_tokens(const std::filesystem::path& path)
{
    const TokenFile file(path);
    std::vector<std::int32_t> tokens(file.info().num_tokens);
    file.read(0, tokens);
    return tokens;
}

/// Takes longer for the first pieces, so that threads finish out of order.
class SlowStart final : public Tokenizer {
public:
    void encode(std::string_view text, std::vector<std::uint32_t>& out) const override
    {
        std::this_thread::sleep_for(std::chrono::milliseconds(std::max(0, 20 - 4 * calls_++)));
        bytes_->encode(text, out);
    }
    std::string decode(std::span<const std::uint32_t> ids) const override
    {
        return bytes_->decode(ids);
    }
    std::uint32_t vocab_size() const override { return 257; }
    std::uint32_t end_token() const override { return 256; }
    std::string description() const override { return "bytes"; }

private:
    std::unique_ptr<Tokenizer> bytes_ = make_byte_tokenizer();
    mutable std::atomic<int> calls_{0};
};

/// Throws at the third piece.
class Failing final : public Tokenizer {
public:
    void encode(std::string_view, std::vector<std::uint32_t>&) const override
    {
        if (++calls_ == 3)
            throw data_error("cannot tokenize this", "here", "nothing to do");
    }
    std::string decode(std::span<const std::uint32_t>) const override { return {}; }
    std::uint32_t vocab_size() const override { return 257; }
    std::uint32_t end_token() const override { return 256; }
    std::string description() const override { return "failing"; }

private:
    mutable std::atomic<int> calls_{0};
};

} // namespace

BOOST_AUTO_TEST_SUITE(prepare)

BOOST_AUTO_TEST_CASE(documents_are_packed_in_order_with_end_tokens)
{
    const TextFolder folder;
    folder.write("texts/a.txt", "gate");
    folder.write("texts/b.jsonl", "{\"text\":\"of\"}\n{\"text\":\"water\"}\n");
    const PrepareSummary summary = prepare_tokens(options_for(folder), *make_byte_tokenizer());
    std::vector<std::int32_t> expected;
    for (const std::string text : {"gate", "of", "water"}) {
        expected.insert(expected.end(), text.begin(), text.end());
        expected.push_back(256);
    }
    BOOST_TEST(all_tokens(folder / "train.h5") == expected, boost::test_tools::per_element());
    BOOST_TEST(summary.source.documents == 3u);
    BOOST_TEST(summary.num_tokens() == 14u);
    BOOST_TEST(summary.bytes_per_token() == 11.0 / 14.0);
    BOOST_TEST(summary.train.size_bytes == std::filesystem::file_size(folder / "train.h5"));
    BOOST_TEST(summary.validation.path.empty());
    const TokenFile file(folder / "train.h5");
    BOOST_TEST(file.info().split == "all");
    BOOST_TEST(file.info().created_by == "test");
    file.verify();
}

BOOST_AUTO_TEST_CASE(any_number_of_threads_writes_the_same_bytes)
{
    const TextFolder folder;
    write_texts(folder);
    for (const std::string& name : {std::string("bytes"), model_file}) {
        const auto tokenizer = make_tokenizer(name);
        std::vector<std::string> train, validation;
        for (const int threads : {1, 2, 3, 8}) {
            PrepareOptions options = options_for(folder);
            split(options, folder, 0.3);
            options.num_threads = threads;
            options.source.max_piece_bytes = 4096; // many pieces, also within a document
            prepare_tokens(options, *tokenizer);
            train.push_back(read_whole(options.out));
            validation.push_back(read_whole(options.validation_out));
            TokenFile(options.out).verify();
            TokenFile(options.validation_out).verify();
        }
        for (std::size_t i = 1; i < train.size(); ++i) {
            BOOST_TEST((train[i] == train[0]));
            BOOST_TEST((validation[i] == validation[0]));
        }
    }
}

BOOST_AUTO_TEST_CASE(threads_that_finish_out_of_order_change_nothing)
{
    const TextFolder folder;
    std::string lines;
    for (int i = 0; i < 12; ++i) // each line alone fills a batch
        lines += "{\"text\":\"" + std::string(300'000, static_cast<char>('a' + i)) + "\"}\n";
    folder.write("texts/a.jsonl", lines);
    PrepareOptions options = options_for(folder);
    options.num_threads = 4;
    prepare_tokens(options, SlowStart());
    const auto tokens = all_tokens(options.out);
    for (int i = 0; i < 12; ++i)
        BOOST_TEST(tokens[300'001 * static_cast<std::size_t>(i)] == 'a' + i);
}

BOOST_AUTO_TEST_CASE(the_size_of_pieces_does_not_show_in_bytes)
{
    const TextFolder folder;
    write_texts(folder);
    PrepareOptions options = options_for(folder);
    prepare_tokens(options, *make_byte_tokenizer());
    const std::string whole = read_whole(options.out);
    options.source.max_piece_bytes = 1000;
    prepare_tokens(options, *make_byte_tokenizer());
    BOOST_TEST((read_whole(options.out) == whole));
}

BOOST_AUTO_TEST_CASE(the_split_is_by_document_and_loses_nothing)
{
    const TextFolder folder;
    write_texts(folder);
    PrepareOptions options = options_for(folder);
    prepare_tokens(options, *make_byte_tokenizer());
    const auto together = all_tokens(options.out);
    const std::string digest = TokenFile(options.out).info().inputs_digest;
    split(options, folder, 0.3);
    const PrepareSummary summary = prepare_tokens(options, *make_byte_tokenizer());
    BOOST_TEST(summary.train.num_documents + summary.validation.num_documents == 40u);
    const auto train = all_tokens(options.out), validation = all_tokens(options.validation_out);
    std::size_t in_train = 0, in_validation_file = 0, document = 0;
    for (const std::int32_t token : together) {
        const bool held_out = in_validation(options.split_seed, document, 0.3);
        const auto& half = held_out ? validation : train;
        std::size_t& place = held_out ? in_validation_file : in_train;
        BOOST_REQUIRE(place < half.size());
        BOOST_REQUIRE(half[place++] == token);
        document += token == 256 ? 1 : 0;
    }
    BOOST_TEST(in_train == train.size());
    BOOST_TEST(in_validation_file == validation.size());
    for (const auto& path : {options.out, options.validation_out})
        BOOST_TEST(TokenFile(path).info().inputs_digest == digest);
    BOOST_TEST(TokenFile(options.out).info().split ==
               "train, validation fraction 0.3, split seed 0");
}

BOOST_AUTO_TEST_CASE(where_a_document_goes_depends_on_seed_and_index_alone)
{
    for (const double fraction : {0.01, 0.2, 0.9}) {
        double held_out = 0.0;
        for (std::uint64_t document = 0; document < 20'000; ++document)
            held_out += in_validation(5, document, fraction) ? 1.0 : 0.0;
        const double deviation = std::sqrt(20'000 * fraction * (1.0 - fraction));
        BOOST_TEST(std::abs(held_out - 20'000 * fraction) < 5.0 * deviation);
    }
    int pairs = 0; // of neighbours that are both held out: chance has a quarter of them
    for (std::uint64_t document = 0; document < 10'000; ++document)
        pairs += in_validation(5, 2 * document, 0.5) && in_validation(5, 2 * document + 1, 0.5);
    BOOST_TEST(std::abs(pairs - 2500) < 5.0 * std::sqrt(10'000 * 0.25 * 0.75));
    int different = 0;
    for (std::uint64_t document = 0; document < 1000; ++document) {
        different += in_validation(1, document, 0.5) != in_validation(2, document, 0.5);
        // What is held out at a small fraction is held out at a larger one.
        BOOST_TEST((!in_validation(1, document, 0.1) || in_validation(1, document, 0.2)));
    }
    BOOST_TEST(different > 400);
    BOOST_TEST(!in_validation(1, 0, 0.0));
}

BOOST_AUTO_TEST_CASE(tells_how_far_it_is)
{
    const TextFolder folder;
    write_texts(folder);
    folder.write("texts/000.bin", std::string(100, '\0'));
    PrepareProgress last;
    std::vector<std::string> notes;
    PrepareListener listener;
    listener.progress = [&](const PrepareProgress& at) {
        BOOST_TEST(at.input_bytes_done <= at.input_bytes);
        BOOST_TEST(at.tokens >= last.tokens);
        last = at;
    };
    listener.note = [&](const std::string& text) { notes.push_back(text); };
    const auto summary = prepare_tokens(options_for(folder), *make_byte_tokenizer(), listener);
    BOOST_TEST(last.input_bytes_done == last.input_bytes);
    BOOST_TEST(last.tokens == summary.num_tokens());
    BOOST_TEST(last.text_bytes == summary.source.text_bytes);
    BOOST_TEST(summary.source.files_not_text == 1u);
    BOOST_TEST(notes.size() == 1u);
}

BOOST_AUTO_TEST_CASE(failures_leave_the_old_files_alone)
{
    const TextFolder folder;
    write_texts(folder);
    const std::string old_file = folder.write("train.h5", "old");
    const std::size_t entries = folder.num_entries();
    check_data_error([&] { prepare_tokens(options_for(folder), Failing()); },
                     {"cannot tokenize this"});
    folder.write("texts/300.jsonl", "{\"body\":1}\n"); // behind everything else
    check_data_error([&] { prepare_tokens(options_for(folder), *make_byte_tokenizer()); },
                     {"300.jsonl line 1"});
    BOOST_TEST(read_whole(old_file) == "old");
    BOOST_TEST(folder.num_entries() == entries);
}

BOOST_AUTO_TEST_CASE(an_empty_half_is_an_error)
{
    const TextFolder folder;
    folder.write("texts/a.txt", "one document");
    PrepareOptions options = options_for(folder);
    split(options, folder, 1e-9);
    check_data_error([&] { prepare_tokens(options, *make_byte_tokenizer()); },
                     {"validation", "1 document", "file of its own"});
    split(options, folder, 1.0 - 1e-9);
    folder.write("texts/b.txt", "another");
    check_data_error([&] { prepare_tokens(options, *make_byte_tokenizer()); },
                     {"training", "2 documents", "--split-seed"});
    BOOST_TEST(!std::filesystem::exists(options.out));
    BOOST_TEST(!std::filesystem::exists(options.validation_out));
    options = options_for(folder);
    folder.write("texts/a.txt", "\xC3\xA9");
    options.source.max_bytes = 1;
    check_data_error([&] { prepare_tokens(options, *make_byte_tokenizer()); }, {"--max-bytes"});
}

BOOST_AUTO_TEST_CASE(options_that_contradict_each_other)
{
    const TextFolder folder;
    folder.write("texts/a.txt", "text");
    const auto refused = [&](const std::function<void(PrepareOptions&)>& change,
                             std::initializer_list<std::string> parts) {
        PrepareOptions options = options_for(folder);
        change(options);
        check_refused(
            ExitCode::usage, [&] { prepare_tokens(options, *make_byte_tokenizer()); }, parts);
    };
    refused([](auto& o) { o.validation_fraction = 0.1; }, {"--validation-out"});
    refused([](auto& o) { o.validation_out = "v.h5"; }, {"--validation-fraction"});
    for (const double fraction : {-0.1, 1.0, 2.0, std::nan("")})
        refused([&](auto& o) { split(o, folder, fraction); }, {"--validation-fraction"});
    refused(
        [&](auto& o) {
            split(o, folder, 0.5);
            o.validation_out = folder / "texts/../train.h5";
        },
        {"same file"});
    refused([&](auto& o) { o.out = folder.path(); }, {"folder"});
    refused([](auto& o) { o.source.max_bytes = 0; }, {"--max-bytes"});
    refused(
        [&](auto& o) {
            o.inputs = {folder / "texts/a.txt"};
            o.out = folder / "texts/a.txt";
        },
        {"input"});
}

BOOST_AUTO_TEST_CASE(creates_the_folder_of_its_output)
{
    const TextFolder folder;
    folder.write("texts/a.txt", "text");
    PrepareOptions options = options_for(folder);
    options.out = folder / "new/deeper/train.h5";
    prepare_tokens(options, *make_byte_tokenizer());
    BOOST_TEST(std::filesystem::exists(options.out));
    options.out = folder / "texts/a.txt/train.h5";
    check_data_error([&] { prepare_tokens(options, *make_byte_tokenizer()); }, {"a.txt"});
}

BOOST_AUTO_TEST_SUITE_END()
