# Drills: real runs, really disturbed (docs/drills.md). Here short; `./dev drill` runs them long.
add_library(sluice_failing_files SHARED drill/failing_files.cpp drill/call_plan.cpp)
target_link_libraries(sluice_failing_files PRIVATE sluice_flags ${CMAKE_DL_LIBS})

add_executable(sluice_damage_drill drill/damage_checkpoints.cpp)
target_link_libraries(sluice_damage_drill PRIVATE sluice_src)

# How much of each is enough to see it go red.
set(counts kills 3 stops 7 files 2 full 3 damage 200)
while(counts)
    list(POP_FRONT counts name count)
    add_test(NAME drill/${name}
        COMMAND ${SLUICE_PYTHON} -B ${CMAKE_CURRENT_SOURCE_DIR}/drill/drill.py ${name} --count ${count})
    set_tests_properties(drill/${name} PROPERTIES TIMEOUT 600 LABELS drill COST 40
        SKIP_REGULAR_EXPRESSION "skipped: "
        ENVIRONMENT "SLUICE=$<TARGET_FILE:sluice>;MPIRUN=${MPIEXEC_EXECUTABLE};SLUICE_FAILING_FILES=$<TARGET_FILE:sluice_failing_files>;SLUICE_DAMAGE_DRILL=$<TARGET_FILE:sluice_damage_drill>")
endwhile()
