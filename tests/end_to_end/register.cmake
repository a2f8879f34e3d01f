# Whole-program tests: end_to_end/*_test.py, each one CTest test. A Python with h5py runs them.
find_program(SLUICE_PYTHON NAMES python3 PATHS /usr/bin NO_DEFAULT_PATH)
if(NOT SLUICE_PYTHON)
    find_program(SLUICE_PYTHON NAMES python3 REQUIRED)
endif()
# Preloaded by the tests that want a save to last (slow_disk.c).
add_library(sluice_slow_disk MODULE end_to_end/slow_disk.c)
target_link_libraries(sluice_slow_disk PRIVATE ${CMAKE_DL_LIBS})
file(GLOB tests CONFIGURE_DEPENDS RELATIVE ${CMAKE_CURRENT_SOURCE_DIR}/end_to_end
     ${CMAKE_CURRENT_SOURCE_DIR}/end_to_end/*_test.py)
foreach(test ${tests})
    string(REGEX REPLACE "_test\\.py$" "" name ${test})
    add_test(NAME end_to_end/${name}
        COMMAND ${SLUICE_PYTHON} -B -m suite ${name}_test
        WORKING_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR}/end_to_end)
    set_tests_properties(end_to_end/${name} PROPERTIES TIMEOUT 600 LABELS end_to_end SKIP_RETURN_CODE 77
        ENVIRONMENT "SLUICE=$<TARGET_FILE:sluice>;MPIRUN=${MPIEXEC_EXECUTABLE};SLOW_DISK=$<TARGET_FILE:sluice_slow_disk>;SANITIZED=${SLUICE_SANITIZE}")
endforeach()
# The longest first, also where CTest has not seen them yet: seconds, roughly.
foreach(cost slurm:120 signals:90 asynchronous_saves:75 same_bits:75 hangs:70 replicas:70 anomalies:45 bad_input:30 false_alarms:40
             stopping:30 stragglers:25)
    string(REPLACE ":" ";" cost ${cost})
    list(GET cost 0 name)
    list(GET cost 1 seconds)
    set_tests_properties(end_to_end/${name} PROPERTIES COST ${seconds})
endforeach()
# Its three ranks must have ended 10 s after one was stopped: beside one other test, not three.
set_tests_properties(end_to_end/hangs PROPERTIES PROCESSORS 3 COST 200)
