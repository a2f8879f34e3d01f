// The executor itself: what is right comes out right, and what would be wrong on a GPU is refused.
#include "tests/layers/kernels/cuda/device_language_emulated.hpp"

#include "layers/kernels/cuda/device_language.cuh"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <numeric>

using namespace sluice;
using namespace sluice::kernels::emulated;
using sluice::testing::ThreadOrder;

namespace {

void run(int num_threads, std::size_t shared_bytes, const std::function<void()>& body,
         ThreadOrder order = ThreadOrder::ascending)
{
    BlockExecutor executor(order);
    executor.run({.x = 3, .y = 5, .num_threads = num_threads, .shared_bytes = shared_bytes}, body);
}

struct Row {
    float at[256];
};

bool mentions(const EmulationError& error, const char* words)
{
    return std::string(error.what()).find(words) != std::string::npos;
}

} // namespace

BOOST_AUTO_TEST_SUITE(block_executor)

BOOST_AUTO_TEST_CASE(every_thread_runs_once_and_knows_where)
{
    std::vector<int> runs(96);
    run(96, 0, [&] {
        ++runs[static_cast<std::size_t>(thread())];
        BOOST_REQUIRE(block_x() == 3 && block_y() == 5);
    });
    BOOST_TEST(runs == std::vector<int>(96, 1));
}

BOOST_AUTO_TEST_CASE(barriers_order_shared_memory)
{
    for (const ThreadOrder order : {ThreadOrder::ascending, ThreadOrder::descending}) {
        std::vector<float> out(256);
        run(
            256, sizeof(Row),
            [&] {
                Row& row = shared_memory<Row>();
                row.at[thread()] = static_cast<float>(thread());
                barrier();
                for (int step = 128; step > 0; step /= 2) {
                    if (thread() < step)
                        row.at[thread()] += row.at[thread() + step];
                    barrier();
                }
                out[static_cast<std::size_t>(thread())] = row.at[0];
            },
            order);
        BOOST_TEST(out == std::vector<float>(256, 256.0F * 255 / 2));
    }
}

BOOST_AUTO_TEST_CASE(a_missing_barrier_shows_in_poison_or_order)
{
    float sum[2] = {};
    for (const ThreadOrder order : {ThreadOrder::ascending, ThreadOrder::descending})
        run(
            64, sizeof(Row),
            [&] {
                Row& row = shared_memory<Row>();
                row.at[thread()] = 1.0F;
                if (thread() == 0) // no barrier before: what the others wrote may not be there
                    sum[order == ThreadOrder::descending] =
                        std::accumulate(row.at, row.at + 64, 0.0F);
            },
            order);
    BOOST_TEST(std::isnan(sum[0]));
    BOOST_TEST(sum[1] == 64.0F);
}

BOOST_AUTO_TEST_CASE(warps_exchange_values)
{
    run(64, 0, [] {
        BOOST_REQUIRE(shuffle_xor(thread(), 5) == (thread() ^ 5));
        BOOST_REQUIRE(shuffle(thread(), 7) == thread() / 32 * 32 + 7);
        BOOST_REQUIRE(ballot(lane() % 3 == 0) == 0x49249249U);
        BOOST_REQUIRE(lanes_with_same(lane() % 3) == 0x49249249U << lane() % 3);
        BOOST_REQUIRE(lanes_with_same(thread()) == 1U << lane());
        BOOST_REQUIRE(warp_sum(1.0F) == 32.0F);
    });
}

BOOST_AUTO_TEST_CASE(warp_barriers_order_shared_memory)
{
    for (const ThreadOrder order : {ThreadOrder::ascending, ThreadOrder::descending})
        run(
            64, sizeof(Row),
            [] {
                Row& row = shared_memory<Row>();
                row.at[thread()] = static_cast<float>(thread());
                warp_barrier();
                BOOST_REQUIRE(row.at[thread() ^ 31] == static_cast<float>(thread() ^ 31));
            },
            order);
}

BOOST_AUTO_TEST_CASE(threads_that_do_not_come_together_are_refused)
{
    BOOST_CHECK_EXCEPTION(run(64, 0,
                              [] {
                                  if (thread() < 40)
                                      barrier();
                              }),
                          EmulationError, [](const auto& e) {
                              return mentions(e, "39 waits at barrier; 40 is done");
                          });
    BOOST_CHECK_EXCEPTION(
        run(64, 0,
            [] {
                if (lane() != 9)
                    ballot(true);
            }),
        EmulationError, [](const auto& e) { return mentions(e, "8 waits at ballot; 9 is done"); });
    BOOST_CHECK_EXCEPTION(run(32, 0, [] { lane() < 4 ? shuffle(1, 0) : shuffle_xor(1, 1); }),
                          EmulationError,
                          [](const auto& e) { return mentions(e, "is at shuffle_xor"); });
    run(32, 0, [] { barrier(); });
}

BOOST_AUTO_TEST_CASE(misaligned_vectors_are_refused)
{
    alignas(16) float numbers[8] = {0, 1, 2, 3, 4, 5, 6, 7};
    run(32, 0, [&] { BOOST_REQUIRE(load_vector<4>(numbers + 4).at[1] == 5.0F); });
    BOOST_CHECK_THROW(run(32, 0, [&] { load_vector<4>(numbers + 2); }), EmulationError);
    BOOST_CHECK_THROW(run(32, 0, [&] { store_vector<2>(numbers + 1, Vector<float, 2>{}); }),
                      EmulationError);
    run(32, 0, [&] { // the same values on either way, and nothing beyond the end
        BOOST_REQUIRE(load_floats<4>(numbers + 4, 4, true)[3] == 7.0F);
        BOOST_REQUIRE(load_floats<4>(numbers + 5, 3, false)[2] == 7.0F);
        BOOST_REQUIRE(load_floats<4>(numbers + 5, 3, false)[3] == 0.0F);
    });
}

BOOST_AUTO_TEST_CASE(copies_arrive_when_waited_for)
{
    alignas(16) const float numbers[8] = {0, 1, 2, 3, 4, 5, 6, 7};
    run(32, sizeof(Row), [&] {
        Row& row = shared_memory<Row>();
        if (thread() == 0) {
            copy_async_16(row.at, numbers, true);
            commit_copies();
            copy_async_16(row.at + 4, numbers + 4, false);
            commit_copies();
            BOOST_REQUIRE(std::isnan(row.at[1]));
            wait_for_copies<1>();
            BOOST_REQUIRE(row.at[1] == 1.0F && std::isnan(row.at[5]));
            wait_for_copies<0>();
            BOOST_REQUIRE(row.at[5] == 0.0F);
        }
    });
}

BOOST_AUTO_TEST_CASE(copies_may_arrive_at_once)
{
    alignas(16) const float numbers[4] = {0, 1, 2, 3};
    BlockExecutor executor(ThreadOrder::ascending, sluice::testing::CopyArrival::early);
    executor.run({.x = 0, .y = 0, .num_threads = 32, .shared_bytes = sizeof(Row)}, [&] {
        Row& row = shared_memory<Row>();
        if (thread() == 0) {
            copy_async_16(row.at, numbers, true);
            BOOST_REQUIRE(row.at[1] == 1.0F);
            commit_copies();
            wait_for_copies<0>();
        }
    });
}

BOOST_AUTO_TEST_CASE(matrix_product_from_shared_memory)
{
    // c[16,8] = a[16,16] b[16,8] with a stored by rows, and b once by rows (transposed on its way)
    // and once by columns, as attention loads values and keys.
    struct Shared {
        alignas(16) BFloat16 a[16][16], b[16][8], b_by_column[8][16];
    };
    float c[16][8], by_column[16][8];
    const auto value = [](int i, int j) { return static_cast<float>((i * 7 + j * 5) % 11 - 4); };
    run(32, sizeof(Shared), [&] {
        auto& shared = shared_memory<Shared>();
        if (lane() == 0)
            for (int i = 0; i < 16; ++i)
                for (int j = 0; j < 16; ++j) {
                    shared.a[i][j] = bfloat16_of(value(i, j));
                    if (j < 8)
                        shared.b[i][j] = shared.b_by_column[j][i] = bfloat16_of(value(i + 3, j));
                }
        barrier();
        std::uint32_t a[4], b[4], b_by_column[4];
        load_matrix_x4(a, &shared.a[lane() % 16][lane() / 16 * 8]);
        load_matrix_x4_t(b, &shared.b[lane() % 16][0]);
        load_matrix_x4(b_by_column, &shared.b_by_column[lane() % 8][lane() / 8 % 2 * 8]);
        float sums[2][4] = {};
        mma_16x8x16(sums[0], a, b[0], b[1]);
        mma_16x8x16(sums[1], a, b_by_column[0], b_by_column[1]);
        for (int i = 0; i < 4; ++i) {
            const int row = lane() / 4 + (i >= 2 ? 8 : 0), column = lane() % 4 * 2 + i % 2;
            c[row][column] = sums[0][i];
            by_column[row][column] = sums[1][i];
        }
    });
    for (int i = 0; i < 16; ++i)
        for (int j = 0; j < 8; ++j) {
            float expected = 0.0F;
            for (int k = 0; k < 16; ++k)
                expected += value(i, k) * value(k + 3, j);
            BOOST_REQUIRE_EQUAL(c[i][j], expected);
            BOOST_REQUIRE_EQUAL(by_column[i][j], expected);
        }
}

BOOST_AUTO_TEST_SUITE_END()
