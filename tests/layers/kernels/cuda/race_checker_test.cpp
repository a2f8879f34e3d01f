// The race checker: what is a race on a GPU is found, whatever the order of the threads, and what
// is none is not. This file is compiled as kernels are for it (memory_accesses.cpp).
#include "tests/layers/kernels/cuda/device_language_emulated.hpp"

#include "layers/kernels/cuda/device_language.cuh"

#include <boost/test/unit_test.hpp>

using namespace sluice;
using namespace sluice::kernels::emulated;
using sluice::testing::CopyArrival;
using sluice::testing::RaceChecker;
using sluice::testing::ThreadOrder;

extern float out[64]; // known elsewhere, so that writing it is worth something
float out[64];

namespace {

struct Shared {
    alignas(16) float at[512];
    alignas(16) BFloat16 halves[512];
};

constexpr int num_threads = 64;

/// What is found in `num_blocks` blocks of one launch, in each order of threads, or nothing.
std::string race_of(const std::function<void()>& body, int num_blocks = 1)
{
    std::string all;
    for (const ThreadOrder order : {ThreadOrder::ascending, ThreadOrder::descending})
        for (const CopyArrival arrival : {CopyArrival::late, CopyArrival::early}) {
            RaceChecker races;
            BlockExecutor executor(order, arrival, &races);
            executor.begin_launch();
            std::string found;
            for (int x = 0; x < num_blocks && found.empty(); ++x) {
                try {
                    executor.run({.x = x,
                                  .y = 0,
                                  .num_threads = num_threads,
                                  .shared_bytes = sizeof(Shared)},
                                 body);
                } catch (const EmulationError& error) {
                    found = error.what();
                }
            }
            if (order == ThreadOrder::ascending && arrival == CopyArrival::late)
                all = found;
            BOOST_TEST(found.empty() == all.empty(),
                       "found in one order of threads only: " << all << found);
        }
    return all;
}

Shared& shared() { return shared_memory<Shared>(); }
float mine() { return static_cast<float>(thread()); }

bool says(const std::string& race, const char* words)
{
    return race.find(words) != std::string::npos;
}

} // namespace

BOOST_AUTO_TEST_SUITE(race_checker)

BOOST_AUTO_TEST_CASE(a_barrier_orders_a_block)
{
    const auto body = [](bool with_barrier) {
        return [with_barrier] {
            shared().at[thread()] = mine();
            if (with_barrier)
                barrier();
            out[thread()] = shared().at[thread() ^ 63];
        };
    };
    BOOST_TEST(race_of(body(true)) == "");
    const std::string race = race_of(body(false));
    BOOST_TEST(says(race, "of shared memory"), race);
    BOOST_TEST(says(race, "\n  now thread "), race);
    BOOST_TEST(says(race, "race_checker_test.cpp"), race);
}

BOOST_AUTO_TEST_CASE(a_warp_barrier_orders_a_warp)
{
    const auto body = [](int other, bool with_barrier) {
        return [other, with_barrier] {
            shared().at[thread()] = mine();
            if (with_barrier)
                warp_barrier();
            shared().at[128 + thread()] = shared().at[thread() ^ other];
        };
    };
    BOOST_TEST(race_of(body(31, true)) == "");
    BOOST_TEST(race_of(body(0, false)) == "");
    BOOST_TEST(race_of(body(31, false)) != "");
    BOOST_TEST(race_of(body(32, true)) != "");
}

BOOST_AUTO_TEST_CASE(shuffles_votes_and_products_order_nothing)
{
    const std::function<void()> syncs[] = {[] { shuffle(1, 0); }, [] { shuffle_xor(1, 1); },
                                           [] { ballot(true); }, [] { lanes_with_same(1); },
                                           [] {
                                               float c[4] = {};
                                               const std::uint32_t a[4] = {};
                                               mma_16x8x16(c, a, 0, 0);
                                           }};
    for (const auto& sync : syncs)
        BOOST_TEST(race_of([&] {
                       shared().at[thread()] = mine();
                       sync();
                       shared().at[128 + thread()] = shared().at[thread() ^ 1];
                   }) != "");
}

BOOST_AUTO_TEST_CASE(a_write_waits_for_the_reads_before)
{
    // Reader and writer in one warp, in two, and many readers in either.
    const auto body = [](auto reads, int writer, int barriers) {
        return [=] {
            if (thread() == 0)
                shared().at[0] = 1.0F;
            barrier();
            if (reads(thread()))
                shared().at[128 + thread()] = shared().at[0];
            if (barriers == 1)
                warp_barrier();
            if (barriers == 2)
                barrier();
            if (thread() == writer)
                shared().at[0] = 2.0F;
        };
    };
    const auto lane_3 = [](int thread) { return thread == 3; };
    const auto warp_0 = [](int thread) { return thread < 32; };
    const auto all = [](int) { return true; };
    BOOST_TEST(race_of(body(lane_3, 3, 0)) == "");
    BOOST_TEST(race_of(body(lane_3, 4, 0)) != "");
    BOOST_TEST(race_of(body(lane_3, 4, 1)) == "");
    BOOST_TEST(race_of(body(lane_3, 40, 1)) != "");
    BOOST_TEST(race_of(body(warp_0, 3, 0)) != "");
    BOOST_TEST(race_of(body(warp_0, 3, 1)) == "");
    BOOST_TEST(race_of(body(warp_0, 40, 1)) != "");
    BOOST_TEST(race_of(body(all, 3, 1)) != "");
    BOOST_TEST(race_of(body(all, 40, 2)) == "");
}

BOOST_AUTO_TEST_CASE(two_writes_of_the_same_value_race_too)
{
    BOOST_TEST(race_of([] { shared().at[7] = 1.0F; }) != "");
    BOOST_TEST(race_of([] {
                   if (lane() == 0)
                       shared().at[7] = 1.0F;
               }) != "");
    BOOST_TEST(race_of([] {
                   if (thread() == 0)
                       shared().at[7] = 1.0F;
                   barrier();
                   if (thread() == 32)
                       shared().at[7] = 1.0F;
               }) == "");
}

BOOST_AUTO_TEST_CASE(neighbours_do_not_race)
{
    BOOST_TEST(race_of([] { shared().halves[thread()] = bfloat16_of(mine()); }) == "");
    BOOST_TEST(race_of([] { shared().halves[thread() / 2] = bfloat16_of(mine()); }) != "");
}

BOOST_AUTO_TEST_CASE(blocks_of_a_launch_are_in_no_order)
{
    static float global[256];
    const auto read = [] { return global[200] > 0.0F; };
    BOOST_TEST(race_of([] { global[block_x() * 64 + thread()] = mine(); }, 3) == "");
    BOOST_TEST(race_of([=] { shared().at[thread()] = read(); }, 3) == "");
    BOOST_TEST(says(race_of([] { global[block_x() + thread()] = mine(); }, 3),
                    "writes what another wrote"));
    BOOST_TEST(says(race_of(
                        [=] {
                            if (block_x() == 0 && thread() == 0)
                                global[200] = 1.0F;
                            else if (block_x() == 2)
                                shared().at[thread()] = read();
                        },
                        3),
                    "reads what another wrote"));
    for (const int writer : {1, 2}) // behind reads by one block, and by several
        BOOST_TEST(says(race_of(
                            [=] {
                                if (block_x() < writer)
                                    shared().at[thread()] = read();
                                else if (block_x() == writer && thread() == 0)
                                    global[200] = 1.0F;
                            },
                            3),
                        "writes what others read"));
    BOOST_TEST(says(race_of(
                        [=] { // its own last reader is the writer's block
                            shared().at[thread()] = read();
                            barrier();
                            if (block_x() == 1 && thread() == 0)
                                global[200] = 1.0F;
                        },
                        2),
                    "writes what others read"));
}

BOOST_AUTO_TEST_CASE(in_orders_that_the_executor_does_not_take)
{
    static float memory[4];
    RaceChecker races;
    std::uint32_t block = races.begin_block(nullptr, 0);
    const auto at = [&](int thread, int barriers, int warp_barriers) {
        sluice::testing::Moment moment;
        moment.block = block;
        moment.thread = static_cast<std::uint16_t>(thread);
        moment.barriers = static_cast<std::uint16_t>(barriers);
        moment.warp_barriers = static_cast<std::uint16_t>(warp_barriers);
        return moment;
    };
    const auto reads = [&](const auto&... moment) { (races.read(memory, 4, moment), ...); };
    const auto write_races = [&](const auto& moment) {
        races.write(memory, 4, moment);
        return !races.take_race().empty();
    };
    // Read by the writer, then by another lane, or another warp.
    reads(at(0, 1, 0), at(1, 1, 0));
    BOOST_TEST(write_races(at(0, 1, 0)));
    reads(at(0, 2, 0), at(32, 2, 0));
    BOOST_TEST(write_races(at(0, 2, 0)));
    // A warp's barrier ends what its lanes read before, and nothing of another warp.
    reads(at(0, 3, 0), at(1, 3, 0), at(2, 3, 1));
    BOOST_TEST(!write_races(at(2, 3, 1)));
    reads(at(0, 4, 0), at(32, 4, 0), at(2, 4, 1));
    BOOST_TEST(write_races(at(2, 4, 1)));
    BOOST_TEST(write_races(at(32, 4, 2))); // behind the write by warp 0
    BOOST_TEST(!write_races(at(0, 5, 0)));
    // A block's shared memory where another block's was.
    block = races.begin_block(memory, sizeof memory);
    BOOST_TEST(!write_races(at(9, 0, 0)));
    block = races.begin_block(nullptr, 0);
    BOOST_TEST(write_races(at(9, 0, 0)));
}

BOOST_AUTO_TEST_CASE(launches_come_one_after_the_other)
{
    static float global[num_threads];
    RaceChecker races;
    BlockExecutor executor(ThreadOrder::ascending, CopyArrival::late, &races);
    for (const int with : {0, 1, 63}) {
        executor.begin_launch();
        executor.run({.x = 0, .y = 0, .num_threads = num_threads, .shared_bytes = sizeof(Shared)},
                     [with] { global[thread() ^ with] += mine(); });
    }
    BOOST_TEST(global[1] == 1.0F + 0.0F + 62.0F);
}

BOOST_AUTO_TEST_CASE(copies_are_waited_for_and_handed_on_by_barriers)
{
    alignas(16) static const float numbers[4] = {0, 1, 2, 3};
    struct Steps {
        bool wait, barrier_behind;
        int reader;
    };
    const auto body = [](Steps steps) {
        return [steps] {
            if (thread() == 0) {
                copy_async_16(shared().at, numbers, true);
                commit_copies();
                if (steps.wait)
                    wait_for_copies<0>();
            }
            if (steps.barrier_behind)
                barrier();
            if (thread() == steps.reader)
                shared().at[100] = shared().at[1];
        };
    };
    BOOST_TEST(race_of(body({.wait = true, .barrier_behind = true, .reader = 40})) == "");
    BOOST_TEST(race_of(body({.wait = true, .barrier_behind = false, .reader = 0})) == "");
    BOOST_TEST(race_of(body({.wait = true, .barrier_behind = false, .reader = 1})) != "");
    BOOST_TEST(says(race_of(body({.wait = false, .barrier_behind = true, .reader = 40})),
                    "touches what is being copied"));
    BOOST_TEST(race_of(body({.wait = false, .barrier_behind = false, .reader = 0})) != "");
}

BOOST_AUTO_TEST_CASE(a_copy_starts_when_its_place_is_free)
{
    alignas(16) static const float numbers[4] = {0, 1, 2, 3};
    for (const bool with_barrier : {true, false})
        for (const bool wanted : {true, false}) {
            const std::string race = race_of([=] {
                shared().at[thread()] = mine();
                barrier();
                shared().at[128 + thread()] = shared().at[1];
                if (with_barrier)
                    barrier();
                if (thread() == 40) {
                    copy_async_16(shared().at, numbers, wanted);
                    commit_copies();
                    wait_for_copies<0>();
                }
            });
            BOOST_TEST(race.empty() == with_barrier, race);
        }
}

BOOST_AUTO_TEST_CASE(matrix_loads_read_for_their_whole_warp)
{
    for (const bool transposed : {true, false})
        for (const bool with_barrier : {true, false}) {
            const std::string race = race_of([=] {
                if (warp() == 1)
                    return;
                BFloat16* const row = shared().halves + lane() * 8;
                for (int i = 0; i < 8; ++i) // each lane the row that it gives the address of
                    row[i] = bfloat16_of(1.0F);
                if (with_barrier)
                    warp_barrier();
                std::uint32_t fragment[4];
                transposed ? load_matrix_x4_t(fragment, row) : load_matrix_x4(fragment, row);
            });
            BOOST_TEST(race.empty() == with_barrier, race);
        }
}

BOOST_AUTO_TEST_CASE(vectors_are_seen_whole)
{
    const auto check = [](const auto& write, const auto& read) {
        for (const bool with_barrier : {true, false}) {
            const std::string race = race_of([&] {
                write();
                if (with_barrier)
                    barrier();
                read();
            });
            BOOST_TEST(race.empty() == with_barrier, race);
        }
    };
    const auto last = [] { // the last element of what a thread of the other warp wrote
        shared().halves[thread()] = bfloat16_of(shared().at[(thread() ^ 32) * 4 + 3]);
    };
    check([] { store_vector<4>(shared().at + 4 * thread(), Vector<float, 4>{}); }, last);
    check([] { store_words<4>(shared().at + 4 * thread(), {1, 2, 3, 4}); }, last);
    const auto write_one_by_one = [](auto* to, int n) {
        for (int i = 0; i < n; ++i)
            to[n * thread() + i] = {};
    };
    const auto first_of_vector = [](auto n, const auto* from) {
        out[thread()] = to_float(load_vector<n>(from + n * (thread() ^ 32)).at[0]);
    };
    const auto load_what_was_written = [&]<int n>(std::integral_constant<int, n> width) {
        check([&] { write_one_by_one(shared().at, n); },
              [&] { first_of_vector(width, shared().at); });
        check([&] { write_one_by_one(shared().halves, n); },
              [&] { first_of_vector(width, shared().halves); });
    };
    load_what_was_written(std::integral_constant<int, 2>{});
    load_what_was_written(std::integral_constant<int, 4>{});
    load_what_was_written(std::integral_constant<int, 8>{});
}

BOOST_AUTO_TEST_CASE(shared_memory_is_written_before_it_is_read)
{
    const auto body = [] {
        if (block_x() == 0)
            shared().at[thread()] = 1.0F;
        out[thread()] = shared().at[thread()]; // block 1: left there by another block, perhaps
    };
    BOOST_TEST(race_of(body, 1) == "");
    BOOST_TEST(says(race_of(body, 2), "reads what its block has not written"));
}

BOOST_AUTO_TEST_SUITE_END()
