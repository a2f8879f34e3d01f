#include "io/batch_reader.hpp"

#include "tests/io/text_fixture.hpp"
#include "tests/io/token_file_fixture.hpp"

using namespace sluice;
using namespace sluice::testing;

namespace {

struct Batch {
    Batch(std::int64_t size, std::int64_t seq_len)
        : shape{size, seq_len}, inputs(static_cast<std::size_t>(size * seq_len), -1),
          targets(inputs)
    {
    }
    void read(const BatchReader& reader, std::uint64_t first)
    {
        reader.read(first, view_of(inputs.data(), shape), view_of(targets.data(), shape));
    }
    Shape shape; ///< [B,T]
    std::vector<std::int32_t> inputs, targets;
};

} // namespace

BOOST_AUTO_TEST_SUITE(batch_reader)

BOOST_AUTO_TEST_CASE(plain_order_covers_the_stream)
{
    const TextFolder folder;
    write_counting_file(folder / "t.h5", 22, 257); // tokens 0, 1, ..., 20, end
    const TokenFile file(folder / "t.h5");
    const auto reader = BatchReader::in_order(file, 4);
    BOOST_TEST(reader.num_windows() == 5u);
    Batch batch(2, 4);
    batch.read(reader, 2);
    BOOST_TEST(batch.inputs == (std::vector<std::int32_t>{8, 9, 10, 11, 12, 13, 14, 15}),
               boost::test_tools::per_element());
    BOOST_TEST(batch.targets == (std::vector<std::int32_t>{9, 10, 11, 12, 13, 14, 15, 16}),
               boost::test_tools::per_element());
    BOOST_CHECK_THROW(batch.read(reader, 4), InvariantError); // window 5 does not exist
}

BOOST_AUTO_TEST_CASE(the_last_window_ends_with_the_last_token)
{
    const TextFolder folder;
    write_counting_file(folder / "t.h5", 9, 257);
    const TokenFile file(folder / "t.h5");
    Batch batch(1, 8);
    batch.read(BatchReader::in_order(file, 8), 0);
    BOOST_TEST(batch.targets.back() == 256);
    check_data_error([&] { BatchReader::in_order(file, 9); }, {"t.h5", "9 tokens", "seq_len"});
    check_data_error([&] { BatchReader::shuffled(file, 9, 1); }, {"t.h5"});
}

BOOST_AUTO_TEST_CASE(shuffled_samples_follow_the_sample_order)
{
    const TextFolder folder;
    write_counting_file(folder / "t.h5", 70'000, 257);
    const TokenFile file(folder / "t.h5");
    const auto reader = BatchReader::shuffled(file, 16, 42);
    const SampleOrder order(42, num_windows_of(70'000, 16));
    BOOST_TEST(reader.num_windows() == order.num_windows());
    Batch batch(3, 16);
    for (const std::uint64_t first : {std::uint64_t{0}, order.num_windows() - 2}) {
        batch.read(reader, first);
        for (std::uint64_t b = 0; b < 3; ++b) {
            const std::uint64_t window = order.window_of(first + b);
            BOOST_TEST(reader.window_of(first + b) == window);
            std::vector<std::int32_t> expected(16);
            file.read(window * 16, expected);
            BOOST_TEST(std::equal(expected.begin(), expected.end(), &batch.inputs[16 * b]));
            file.read(window * 16 + 1, expected);
            BOOST_TEST(std::equal(expected.begin(), expected.end(), &batch.targets[16 * b]));
        }
    }
}

BOOST_AUTO_TEST_CASE(how_samples_are_grouped_changes_nothing)
{
    const TextFolder folder;
    write_counting_file(folder / "t.h5", 5000, 257);
    const TokenFile file(folder / "t.h5");
    const auto reader = BatchReader::shuffled(file, 8, 1);
    Batch together(6, 8), alone(1, 8);
    together.read(reader, 100);
    for (std::uint64_t b = 0; b < 6; ++b) {
        alone.read(reader, 100 + b);
        BOOST_TEST(std::equal(alone.inputs.begin(), alone.inputs.end(), &together.inputs[8 * b]));
    }
}

BOOST_AUTO_TEST_CASE(either_half_can_be_left_out)
{
    const TextFolder folder;
    write_counting_file(folder / "t.h5", 100, 257);
    const TokenFile file(folder / "t.h5");
    const auto reader = BatchReader::shuffled(file, 8, 1);
    Batch both(2, 8), one(2, 8);
    both.read(reader, 3);
    reader.read(3, view_of(one.inputs.data(), one.shape), {});
    BOOST_TEST((one.inputs == both.inputs));
    BOOST_TEST(one.targets.front() == -1);
    reader.read(3, {}, view_of(one.targets.data(), one.shape));
    BOOST_TEST((one.targets == both.targets));
}

BOOST_AUTO_TEST_CASE(wrong_shapes_are_broken_promises)
{
    const TextFolder folder;
    write_counting_file(folder / "t.h5", 100, 257);
    const TokenFile file(folder / "t.h5");
    const auto reader = BatchReader::in_order(file, 8);
    Batch batch(2, 7);
    BOOST_CHECK_THROW(batch.read(reader, 0), InvariantError);
}

BOOST_AUTO_TEST_CASE(the_models_vocabulary_must_hold_the_files)
{
    const TextFolder folder;
    write_counting_file(folder / "t.h5", 100, 257);
    const TokenFile file(folder / "t.h5");
    check_vocabulary(file, 257);
    check_vocabulary(file, 32000);
    check_data_error([&] { check_vocabulary(file, 256); },
                     {"t.h5", "257", "256", "model.vocab_size"});
}

BOOST_AUTO_TEST_SUITE_END()
